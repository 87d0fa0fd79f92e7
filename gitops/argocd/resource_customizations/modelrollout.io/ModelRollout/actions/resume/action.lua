-- Goes on after a pause that was asked for; spec.paused is ended in spec.
-- The request names what was seen, so that a click that comes late does nothing.
local status = obj.status or {}
if status.rollout == nil then
  error("nothing is under way", 0)
end
local seen = status.canary.revision .. "." .. status.rollout.attempt .. ":" .. (status.rollout.step or 0)
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["modelrollout.io/request"] = "resume:" .. seen
return obj
