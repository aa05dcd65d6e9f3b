#!lua flags=allow-oom
-- The next runs of a lane, from its owner's cursor on.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- ARGV: group number · partition · fence · cursor · how many messages · windowMax · how many bytes, about
-- Answers {'lost'} when another grant, or none, holds the lane; else: the lowest unsettled position · the next position ·
-- in how many ms the next delayed message is due, -1 when none is · runs as (id, instant of publishing, packed messages).

-- include: partition.part.lua

local topic, group, number, fence = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local cursor, limit, windowMax, bytesMax = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local key = topic .. ':g' .. group .. ':' .. number
local fields = call('HMGET', key, 'x', 'l', 'c')
if fields[1] ~= fence then
  return { 'lost' }
end
local low = tonumber(fields[2]) or 0
local partition = partitionOf(topic, number)
local now
if partition.due then
  now = clock()
  releaseDue(partition, now)
end
if partition.trimAt then
  now = now or clock()
  trimWhenDue(partition, now)
end
if cursor < low then
  cursor = low
end
local answer = { low, partition.next, partition.due and math.max(0, math.ceil(partition.due - now)) or -1 }
local stop = math.min(partition.next, low + windowMax)
local from, messages, bytes, runs, want = cursor, 0, 0, 0, 4
while from < stop and messages < limit and bytes < bytesMax do
  local found = call('XRANGE', partition.stream, text(from + 1), '+', 'COUNT', want)
  if #found == 0 then
    break
  end
  for i = 1, #found do
    local id, content = found[i][1], found[i][2]
    local last, count = string.match(id, '^(%d+)-(%d+)$')
    last = tonumber(last)
    if last - count >= stop then
      break
    end
    answer[#answer + 1] = id
    answer[#answer + 1] = content[1]
    answer[#answer + 1] = content[2]
    messages = messages + last - math.max(from, last - count)
    bytes = bytes + #content[2]
    runs = runs + 1
    from = last
    if messages >= limit or bytes >= bytesMax then
      break
    end
  end
  -- As many as will probably do, by what was seen.
  local byCount = math.ceil((limit - messages) * runs / math.max(1, messages))
  local byBytes = math.ceil((bytesMax - bytes) * runs / math.max(1, bytes))
  want = math.max(1, math.min(byCount, byBytes, want * 8, 256))
end
if from > cursor then
  -- Whoever comes after an owner that vanished must know how far it got.
  if from > (tonumber(fields[3]) or 0) then
    call('HSET', key, 'c', text(from))
  end
elseif cursor >= partition.next and not partition.waiting then
  call('HSET', partition.key, 'w', 1)
end
return answer
