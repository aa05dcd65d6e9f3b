-- Says from when on a server that was started votes: one that may have lost what it had granted stays away until all of that has ended.
-- KEYS[1] server, as grant.part.lua says
-- ARGV    '1' when everything that it confirmed survives its restart · for how many ms it stays away otherwise · '1' when an empty server is new
-- Answers {for how many ms it stays away, from now on}

local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local run = string.match(call('INFO', 'server'), 'run_id:(%x+)')
local server = call('HMGET', KEYS[1], 'run', 'from')
local from = tonumber(server[2])
if server[1] ~= run then
  local keeps = from and ARGV[1] == '1' or not from and ARGV[3] == '1'
  if not keeps then from = now + tonumber(ARGV[2]) end
  from = from or now
  call('HSET', KEYS[1], 'run', run, 'from', string.format('%.0f', from))
end
return { string.format('%.0f', math.max(0, from - now)) }
