-- Health of a ModelRollout, which follows kstatus: Reconciling and Stalled are there only while True.
--
--   Progressing  the operator works on it, or has not looked at this generation yet; timed steps too
--   Suspended    somebody has to decide: it is paused, or waits for approval
--   Degraded     nothing more will happen until somebody changes something; the message begins with what users get
--   Healthy      what spec asks for serves
--
-- No string library: scripts in argocd-cm run without it. No clock: each change of the message costs a refresh.
local function condition(kind)
  for _, item in ipairs(obj.status.conditions or {}) do
    if item.type == kind then
      return item
    end
  end
  return {}
end

local function seen()
  return obj.status ~= nil and obj.status.observedGeneration == obj.metadata.generation
end

-- What users get meanwhile, to be told first when something is wrong.
local function users()
  if condition("Available").status == "True" and obj.status.stable ~= nil then
    return "users are fine, version " .. obj.status.stable.version .. " serves. "
  end
  return "NOTHING SERVES. "
end

if not seen() then
  return {status = "Progressing", message = "waiting for the operator to look at this generation"}
end

local message = obj.status.message or ""
if obj.status.progress ~= nil and obj.status.progress ~= "" then
  message = obj.status.progress .. ": " .. message
end

if condition("Stalled").status == "True" then
  return {status = "Degraded", message = users() .. condition("Stalled").message}
end
if condition("Paused").status == "True" then
  return {status = "Suspended", message = condition("Paused").reason .. ": " .. message}
end
if condition("Ready").status == "True" then
  return {status = "Healthy", message = message}
end
return {status = "Progressing", message = message}
