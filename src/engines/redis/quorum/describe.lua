-- Who holds a name, as far as it is confirmed.
-- KEYS    as grant.part.lua says
-- Answers {'ok', now, then for each holder: holder, token, weight, ttl, end, 1 and its data or 0}, {'restarted'}, or {'away', for how many ms}

-- include: grant.part.lua

local silent = abstention()
if silent then return silent end
local answer, all = { 'ok', text(now) }, call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= 'm' then
    local token, weight, _, ttl, till, confirmed, after = struct.unpack(grant_format, all[i + 1])
    if confirmed == 1 and till > now then
      local data = string.sub(all[i + 1], after)
      for _, part in ipairs({ string.sub(all[i], 2), text(token), text(weight), text(ttl), text(till), data }) do
        answer[#answer + 1] = part
      end
    end
  end
end
return answer
