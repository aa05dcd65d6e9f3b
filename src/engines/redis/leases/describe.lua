-- Who holds a name, and how many wait for it.
-- KEYS    the name's first
-- Answers how many wait · now · then for each holder: holder, token, weight, end, 1 and its data or 0

local call = redis.call
-- include: lease.part.lua
look_at(KEYS[1])

local function holder_of(owner)
  return string.sub(owner, string.find(owner, ':', 1, true) + 1)
end

local alone = read_alone()
if alone then
  return { 0, text(now), holder_of(alone.owner), text(alone.token), text(alone.weight), text(alone.till), alone.data }
end

local answer, all = { 0, text(now) }, call('HGETALL', name_key)
for i = 1, #all, 2 do
  local kind, rest = string.sub(all[i], 1, 1), string.sub(all[i], 2)
  if kind == 'h' then
    local token, weight, _, till, after = struct.unpack(grant_format, all[i + 1])
    if till > now then
      for _, part in ipairs({ holder_of(rest), text(token), text(weight), text(till), string.sub(all[i + 1], after) }) do
        answer[#answer + 1] = part
      end
    end
  elseif kind == 'r' then
    local _, _, _, till = struct.unpack(waiter_format, all[i + 1])
    if till > now then answer[1] = answer[1] + 1 end
  end
end
return answer
