-- Answers where a reader stands, or '', by partition; or {'gone'}.
-- ARGV: reader · '1' to forget it.

-- include: log.part.lua

local log = openLog()
if not log then
  return { 'gone' }
end
local answer = {}
for number = 0, log.partitions - 1 do
  local field = number .. ':' .. ARGV[1]
  answer[number + 1] = { call('HGET', log.key .. ':r', field) or '' }
  if ARGV[2] == '1' then
    call('HDEL', log.key .. ':r', field)
  end
end
return answer
