-- Answers retention in ms, in bytes, then for each partition: first position · end · instant of the last record, or ''; or {'gone'}.

-- include: log.part.lua

local log = openLog()
if not log then
  return { 'gone' }
end
local now = clock()
local answer = { { log.retentionMs and text(log.retentionMs) or '', log.retentionBytes and text(log.retentionBytes) or '' } }
for number = 0, log.partitions - 1 do
  local partition = partitionOf(log, tostring(number))
  trim(partition, now)
  local last = partition.first < partition.next and text(partition.at) or ''
  answer[number + 2] = { text(partition.first), text(partition.next), last }
end
return answer
