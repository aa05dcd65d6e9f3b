-- Answers {the position of the first record at or after an instant}, or {'gone'}, or {'partition', how many}.
-- ARGV: partition · instant.

-- include: log.part.lua

local log = openLog()
if not log then
  return { 'gone' }
end
if not hasPartition(log, ARGV[1]) then
  return { 'partition', log.partitions }
end
local partition = partitionOf(log, ARGV[1])
trim(partition, clock())
local at = tonumber(ARGV[2])
local from, to = partition.first, partition.next
while from < to do
  local run = runAt(partition, math.floor((from + to) / 2))
  if not run or run.at >= at then
    to = math.min(run and run.first or to - 1, math.floor((from + to) / 2))
  else
    from = run.stop
  end
end
return { text(math.max(from, partition.first)) }
