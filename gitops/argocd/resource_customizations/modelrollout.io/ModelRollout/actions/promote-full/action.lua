-- Promotes at once, without the steps that are left and their evidence.
-- The request names what was seen, so that a click that comes late does nothing.
local status = obj.status or {}
if status.rollout == nil then
  error("nothing is under way", 0)
end
local seen = status.canary.revision .. "." .. status.rollout.attempt .. ":" .. (status.rollout.step or 0)
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["modelrollout.io/request"] = "promote-full:" .. seen
return obj
