#!lua flags=allow-oom
-- Records a lane's progress: all of it or nothing.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- ARGV: the change as commit.part.lua says.
-- Answers {'lost'}, {'position', the next position} where one does not exist, or the lowest unsettled position.

-- include: partition.part.lua
-- include: lane.part.lua
-- include: commit.part.lua

local change = readChange(KEYS[1])
local refusal = checkChange(KEYS[1], change)
if refusal then
  return refusal
end
writeChange(change)
return { change.lane.low }
