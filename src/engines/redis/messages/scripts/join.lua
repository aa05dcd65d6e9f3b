-- Makes a member of a group, and the group where it is not there. Idempotent for the same member.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- KEYS[2]: the family's counters.
-- ARGV: group · member · sessionMs · revokeMs · agreement · 1 when ephemeral · 1 when the group may be made · target as
-- positions.part.lua says.
-- Answers {'gone'} when there is no such topic, {'group'} when the group is not there and may not be made, {'exists'} when an
-- ephemeral one is there, {'ephemeral'} when it is another member's, {'agreement'} when its members agreed on something else;
-- else: the group's number, then as `reportTo` of groups.part.lua.

-- include: partition.part.lua
-- include: lane.part.lua
-- include: positions.part.lua
-- include: groups.part.lua

local topic, name, id, agreement = KEYS[1], ARGV[1], ARGV[2], ARGV[5]
local sessionMs, ephemeral = tonumber(ARGV[3]), ARGV[6] == '1'
if call('EXISTS', topic) == 0 then
  return { 'gone' }
end
local now = clock()
removeEnded(topic, now)
local group = call('HGET', topic .. ':g', name)
if group then
  local only = call('HGET', topic .. ':g' .. group, 'e')
  if ephemeral and only ~= id then
    return { 'exists' }
  elseif only and only ~= id then
    return { 'ephemeral' }
  end
  local others = call('ZCOUNT', topic .. ':g' .. group .. ':m', '(' .. text(now), '+inf')
  if others > 0 and (call('HGET', topic .. ':g' .. group, 'a') or '') ~= agreement then
    return { 'agreement' }
  end
elseif ARGV[7] == '1' then
  group = makeGroup(topic, name, readTarget(8), now)
else
  return { 'group' }
end
local key = topic .. ':g' .. group
if call('HEXISTS', key .. ':i', id) == 0 then
  call('HSET', key .. ':i', id, call('HINCRBY', key, 'j', 1) .. ' ' .. ARGV[4])
end
call('HSET', key, 'a', agreement)
call('ZADD', key .. ':m', text(now + sessionMs), id)
if ephemeral then
  call('HSET', key, 'e', id)
  call('ZADD', topic .. ':e', text(now + sessionMs), group)
  countEphemeral(topic)
end
local byId, revoked, soonest = balance(topic, KEYS[2], group, now)
return { tonumber(group), unpack(reportTo(id, byId, revoked, soonest, now)) }
