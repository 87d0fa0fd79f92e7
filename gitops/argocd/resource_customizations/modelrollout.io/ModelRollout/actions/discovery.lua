-- Which actions make sense now. Each is one annotation, which the operator answers in status.lastRequest.
local status = obj.status or {}
local underWay = status.rollout ~= nil and status.stable ~= nil and status.rollout.stage ~= "RollingBack"
local settled = status.rollout == nil and status.stable ~= nil

local paused = false
for _, item in ipairs(status.conditions or {}) do
  if item.type == "Paused" and item.status == "True" then
    paused = true
  end
end

local promoted = 0
for _, entry in ipairs(status.history or {}) do
  if entry.outcome == "Promoted" then
    promoted = promoted + 1
  end
end

return {
  ["abort"] = {disabled = not underWay, iconClass = "fa fa-fw fa-rotate-left", displayName = "Abort: take it back"},
  ["pause"] = {disabled = not underWay or paused, iconClass = "fa fa-fw fa-pause", displayName = "Pause"},
  ["promote"] = {disabled = not paused, iconClass = "fa fa-fw fa-check", displayName = "Approve this step"},
  ["promote-full"] = {disabled = not underWay, iconClass = "fa fa-fw fa-forward-fast", displayName = "Promote at once"},
  ["resume"] = {disabled = not paused, iconClass = "fa fa-fw fa-play", displayName = "Resume"},
  ["retry"] = {
    disabled = status.rollout ~= nil or status.rejected == nil,
    iconClass = "fa fa-fw fa-rotate-right",
    displayName = "Retry the rejected version"
  },
  ["skip"] = {disabled = not underWay, iconClass = "fa fa-fw fa-forward-step", displayName = "Skip this step"},
  ["undo"] = {
    disabled = not settled or promoted < 2,
    iconClass = "fa fa-fw fa-clock-rotate-left",
    displayName = "Undo: back to the version before, or the one given",
    params = {{name = "version"}}
  }
}
