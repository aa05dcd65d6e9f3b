#!lua flags=allow-oom
-- What a new owner has to know of its lane.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- ARGV: group number · partition · fence.
-- Answers {'lost'} when another grant, or none, holds the lane; else: low · what is suspect, up to here · the position of bit
-- 0, -1 when there are no bits · the bits of settled positions · held entries as (position, entry).

-- include: partition.part.lua

local key = KEYS[1] .. ':g' .. ARGV[1] .. ':' .. ARGV[2]
local fields = call('HMGET', key, 'x', 'l', 's', 'b')
if fields[1] ~= ARGV[3] then
  return { 'lost' }
end
local answer = {
  tonumber(fields[2]) or 0,
  tonumber(fields[3]) or 0,
  tonumber(fields[4]) or -1,
  fields[4] and call('GET', key .. ':b') or '',
}
for _, item in ipairs(call('HGETALL', key .. ':h')) do
  answer[#answer + 1] = item
end
return answer
