-- Goes back to the version that was promoted before the one that serves, or to the one given as parameter.
-- Takes back what is under way. Without a parameter never to a version that somebody went back from.
-- The request names what was seen, so that a click that comes late does nothing.
local status = obj.status or {}
local stable, history = status.stable, status.history or {}
local wanted = (actionParams or {})["version"] or ""

if stable == nil then
  error("nothing serves yet", 0)
end

local seen, target
if status.rollout ~= nil then
  if wanted ~= "" and wanted ~= stable.version .. "" then
    error("version " .. status.canary.version .. " is under way; undo without a version takes it back", 0)
  end
  seen, target = status.canary.revision .. "." .. status.rollout.attempt .. ":" .. (status.rollout.step or 0), ""
else
  local left, newer = {}, nil
  local tried = {}
  for _, entry in ipairs(history) do
    left[entry.revision] = left[entry.revision] or (not tried[entry.revision] and entry.outcome == "RolledBack")
    tried[entry.revision] = true
  end
  for _, entry in ipairs(history) do
    if entry.outcome == "Promoted" then
      if newer ~= nil and newer.reason == "Undone" then
        left[entry.revision] = true
      end
      newer = entry
    end
  end
  for _, entry in ipairs(history) do
    local other = entry.outcome == "Promoted" and entry.revision ~= stable.revision
    local meant = wanted == entry.version .. "" or (wanted == "" and not left[entry.revision])
    if target == nil and other and meant then
      target = ":" .. entry.revision
    end
  end
  if target == nil then
    error("no such version was promoted before", 0)
  end
  seen = stable.revision .. "." .. history[1].attempt .. ":0"
end

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["modelrollout.io/request"] = "undo:" .. seen .. target
return obj
