-- Makes a topic and its groups where they are not there, and changes the settings that are given.
-- KEYS[1]: the family's topics, a hash from name to number · KEYS[2]: the family's counters, a hash · KEYS[3], where it is in reach:
-- all topics, a hash from name to number.
-- The topic's settings are T = ARGV[1] .. its number, under the same hash tag; everything else is derived from T.
-- ARGV: what T begins with · topic · partitions · retentionMs of a new topic · retentionMs, or '' · countMax, or '' · whenFull,
-- or '' · '=' and the note of its seal, nothing behind it to open the topic, or '' · groups …
-- Answers {the topic's number}, {'partitions', their number} where that is another one, {'ephemeral', the name} of a group that
-- belongs to one member.

-- include: partition.part.lua
-- include: lane.part.lua
-- include: groups.part.lua

local name, partitions = ARGV[2], ARGV[3]
local now = clock()
local number = call('HGET', KEYS[1], name)
local topic
if number then
  topic = ARGV[1] .. number
  local declared = call('HGET', topic, 'n')
  if declared ~= partitions then
    return { 'partitions', declared }
  end
  removeEnded(topic, now)
  for i = 9, #ARGV do
    local group = call('HGET', topic .. ':g', ARGV[i])
    if group and call('HEXISTS', topic .. ':g' .. group, 'e') == 1 then
      return { 'ephemeral', ARGV[i] }
    end
  end
else
  number = text(grow(KEYS[2], 't', now))
  topic = ARGV[1] .. number
  call('HSET', KEYS[1], name, number)
  call('HSET', topic, 'name', name, 'n', partitions, 'r', ARGV[4])
end
for i, field in ipairs({ 'r', 'm', 'f' }) do
  if ARGV[4 + i] ~= '' then
    call('HSET', topic, field, ARGV[4 + i])
  end
end
-- Scripts run one after the other, so that whatever appends from now on sees it.
if ARGV[8] == '=' then
  call('HDEL', topic, 'z')
elseif ARGV[8] ~= '' then
  call('HSET', topic, 'z', string.sub(ARGV[8], 2))
end
for i = 9, #ARGV do
  if not call('HGET', topic .. ':g', ARGV[i]) then
    makeGroup(topic, ARGV[i], atNext, now)
  end
end
if KEYS[3] then
  call('HSET', KEYS[3], name, number)
end
return { tonumber(number) }
