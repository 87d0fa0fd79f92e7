-- Goes on after a pause.
-- The request names what was seen, so that a click that comes late does nothing.
local status = obj.status or {}
local revision, attempt, step
if status.rollout ~= nil then
  revision, attempt, step = status.canary.revision, status.rollout.attempt, status.rollout.step or 0
elseif status.stable ~= nil then
  local last = (status.history or {})[1] or {attempt = 0}
  revision, attempt, step = status.stable.revision, last.attempt, 0
else
  error("nothing serves yet", 0)
end
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["modelrollout.io/request"] = "resume:" .. revision .. "." .. attempt .. ":" .. step
return obj
