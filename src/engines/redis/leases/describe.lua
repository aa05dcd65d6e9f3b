-- Who holds a name, and how many wait for it.
-- KEYS    as lease.part.lua says
-- Answers how many wait · now · then for each holder: holder, token, weight, end, 1 and its data or 0

-- include: lease.part.lua
look_at(KEYS[1])

local answer, all = { 0, text(now) }, call('HGETALL', name_key)
for i = 1, #all, 2 do
  local kind, rest = string.sub(all[i], 1, 1), string.sub(all[i], 2)
  if kind == 'h' then
    local token, weight, _, _, till, after = struct.unpack(grant_format, all[i + 1])
    if till > now then
      for _, part in ipairs({ rest, text(token), text(weight), text(till), string.sub(all[i + 1], after) }) do
        answer[#answer + 1] = part
      end
    end
  elseif kind == 'r' then
    local _, _, _, till = struct.unpack(waiter_format, all[i + 1])
    if till > now then answer[1] = answer[1] + 1 end
  end
end
return answer
