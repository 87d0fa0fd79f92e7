-- Tries the rejected revision once more, from the first step.
-- The request names what was seen, so that a click that comes late does nothing.
local status = obj.status or {}
if status.rollout ~= nil or status.rejected == nil then
  error("no version is rejected", 0)
end
local last = (status.history or {})[1] or {attempt = 0}
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["modelrollout.io/request"] = "retry:" .. status.rejected.revision .. "." .. last.attempt .. ":0"
return obj
