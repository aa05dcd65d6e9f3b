#!lua flags=allow-oom
-- Describes a topic, exactly.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- Answers {'gone'} when there is no such topic, else:
--   0 · retentionMs · countMax, or '' · whenFull, or '' · number of delayed messages · (first, next) of each partition ·
--   (group, members, whether it ends with its member (1) or not (0), (low, lag, held, when the oldest was published, or '') of each partition) of each group · the note of its seal, or ''

-- include: partition.part.lua
-- include: lane.part.lua
-- include: groups.part.lua

local topic = KEYS[1]
local settings = call('HMGET', topic, 'r', 'm', 'f', 'z')
if not settings[1] then
  return { 'gone' }
end
local now = clock()
removeEnded(topic, now)
local partitions, delayed, extents = {}, 0, {}
eachPartition(topic, now, function(partition)
  trimWhenDue(partition, now)
  partitions[#partitions + 1] = partition
  extents[#extents + 1] = text(partition.first)
  extents[#extents + 1] = text(partition.next)
  if partition.due then
    delayed = delayed + call('ZCARD', partition.key .. ':d')
  end
end)
local groups = {}
local names = call('HGETALL', topic .. ':g')
for i = 1, #names, 2 do
  local group = names[i + 1]
  local described = { names[i], call('ZCOUNT', topic .. ':g' .. group .. ':m', '(' .. text(now), '+inf'),
    call('HEXISTS', topic .. ':g' .. group, 'e'), {} }
  local lanes = described[4]
  for _, partition in ipairs(partitions) do
    local lane = laneOf(topic, group, partition.number)
    local lag = partition.next - lane.low - settledAbove(lane)
    local oldest = ''
    if lag > 0 then
      oldest = call('XRANGE', partition.stream, text(lane.low + 1), '+', 'COUNT', 1)[1][2][1]
    end
    lanes[#lanes + 1] = text(lane.low)
    lanes[#lanes + 1] = text(lag)
    lanes[#lanes + 1] = text(call('HLEN', lane.key .. ':h'))
    lanes[#lanes + 1] = oldest
  end
  groups[#groups + 1] = described
end
return { 0, settings[1], settings[2] or '', settings[3] or '', text(delayed), extents, groups, settings[4] or '' }
