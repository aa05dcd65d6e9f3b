-- Records a lane's progress and appends batches: all of it or nothing.
-- KEYS[1]: the lane's topic's settings (T); further KEYS: those of the batches' topics. Everything else is derived under
-- their hash tags, see the parts.
-- ARGV: the change as commit.part.lua says, how many batches, and the batches as append.part.lua says.
-- Answers {'lost'}, {'position', the next position}, {'batch', its number from 0, why it is refused, …}, or the lowest
-- unsettled position.

-- include: partition.part.lua
-- include: lane.part.lua
-- include: groups.part.lua
-- include: append.part.lua
-- include: commit.part.lua

local now = clock()
removeEndedBeforeAppending(KEYS, now)
local change, at = readChange(KEYS[1])
local refusal = checkChange(KEYS[1], change)
if refusal then
  return refusal
end
local batches, planned = {}, {}
local count = tonumber(ARGV[at])
at = at + 1
for i = 1, count do
  batches[i], at = readBatch(at)
  refusal = checkBatch(batches[i], planned, now)
  if refusal then
    return { 'batch', i - 1, unpack(refusal) }
  end
end
makeRoom(planned, now)
for i = 1, count do
  writeBatch(batches[i], now)
end
-- The lane and its partition as the appends left them.
change.lane = laneOf(KEYS[1], ARGV[1], ARGV[2])
change.partition = partitionOf(KEYS[1], ARGV[2])
writeChange(change)
return { change.lane.low }
