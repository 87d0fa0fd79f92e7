-- Which actions make sense now. Each is one annotation, which the operator answers in status.lastRequest.
local status = obj.status or {}
local rollout, stable, history = status.rollout, status.stable, status.history or {}
local underWay = rollout ~= nil and stable ~= nil and rollout.stage ~= "RollingBack"
local steps = underWay and rollout.steps ~= nil
local inStep = steps and rollout.stage == "Progressing"
local pausedBySpec = (obj.spec or {}).paused == true
local paused = underWay and rollout.pausedSince ~= nil
-- Nothing goes on while spec holds it, or while a metric suspects the version.
local free = not pausedBySpec and underWay and rollout.suspectedSince == nil
local full = free and steps and (inStep or rollout.stage == "Preparing") and rollout.approved ~= "Full"
local lost = underWay and rollout.lostSince ~= nil

-- A version to go back to: promoted before, and not one that somebody went back from.
local back, left, newer = false, {}, nil
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
  if entry.outcome == "Promoted" and stable ~= nil and entry.revision ~= stable.revision and not left[entry.revision] then
    back = true
  end
end

return {
  ["abort"] = {disabled = not underWay, iconClass = "fa fa-fw fa-rotate-left", displayName = "Abort: take it back"},
  ["pause"] = {disabled = not steps or paused, iconClass = "fa fa-fw fa-pause", displayName = "Pause"},
  ["promote"] = {
    disabled = not (free and inStep) or rollout.approved ~= nil,
    iconClass = "fa fa-fw fa-check",
    displayName = "Approve this step"
  },
  ["promote-full"] = {
    disabled = not full or lost,
    iconClass = "fa fa-fw fa-forward-fast",
    displayName = "Promote at once"
  },
  ["resume"] = {disabled = not paused, iconClass = "fa fa-fw fa-play", displayName = "Resume"},
  ["retry"] = {
    disabled = rollout ~= nil or status.rejected == nil or pausedBySpec,
    iconClass = "fa fa-fw fa-rotate-right",
    displayName = "Retry the rejected version"
  },
  ["skip"] = {
    disabled = not (free and inStep) or lost or rollout.approved == "Full",
    iconClass = "fa fa-fw fa-forward-step",
    displayName = "Skip this step"
  },
  ["undo"] = {
    disabled = not underWay and (rollout ~= nil or not back),
    iconClass = "fa fa-fw fa-clock-rotate-left",
    displayName = "Undo: back to the version before, or the one given",
    params = {{name = "version"}}
  }
}
