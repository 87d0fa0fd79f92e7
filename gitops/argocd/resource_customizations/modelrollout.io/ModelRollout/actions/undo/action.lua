-- Goes back to the version that was promoted before the one that serves, or to the one given as parameter.
-- The request names what was seen, so that a click that comes late does nothing.
local status = obj.status or {}
if status.rollout ~= nil or status.stable == nil then
  error("undo is for a version that serves; abort what is under way", 0)
end
local wanted = (actionParams or {})["version"] or ""
local target = nil
for _, entry in ipairs(status.history or {}) do
  local other = entry.outcome == "Promoted" and entry.revision ~= status.stable.revision
  if target == nil and other and (wanted == "" or wanted == entry.version .. "") then
    target = entry.revision
  end
end
if target == nil then
  error("no such version was promoted before", 0)
end
local last = status.history[1]
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["modelrollout.io/request"] =
  "undo:" .. status.stable.revision .. "." .. last.attempt .. ":0:" .. target
return obj
