#!lua flags=allow-oom
-- A member leaves its group, and its lanes pass on. Idempotent.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- KEYS[2]: the family's counters.
-- ARGV: group · member · 1 when it gives its lanes back, 0 when it lost them and what it fetched is suspect.
-- Answers {}.

-- include: partition.part.lua
-- include: lane.part.lua
-- include: groups.part.lua

local topic, name, id, orderly = KEYS[1], ARGV[1], ARGV[2], ARGV[3] == '1'
local group = call('HGET', topic .. ':g', name)
if not group then
  return {}
end
local key = topic .. ':g' .. group
if call('ZREM', key .. ':m', id) == 0 then
  return {}
end
call('HDEL', key .. ':i', id)
local now = clock()
if call('HGET', key, 'e') == id then
  removeGroup(topic, name, group)
  trimAll(topic, now)
  return {}
end
local owners = call('HGETALL', key .. ':o')
for i = 1, #owners, 2 do
  if string.match(owners[i + 1], ' (%S+)$') == id then
    takeLane(topic, group, owners[i], orderly)
  end
end
balance(topic, KEYS[2], group, now)
return {}
