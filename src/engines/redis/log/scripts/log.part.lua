-- Logs: their partitions, and what is kept of producers, writers and readers. A part that other scripts begin with.
--
-- Records stand in *runs*, one stream entry each: id `<position behind its last record>-<how many>`, one field whose name is the
-- instant of appending and whose value is the packed records. Positions are dense, so that the run that holds a position is the first whose id
-- is greater.
--
-- KEYS[1] (B) names the log; the other keys are derived from it, and so in its slot:
--   B             hash    i incarnation · n partitions · m retention in ms, or '' · b retention in bytes, or ''
--   B:i           string  the last incarnation; stays when the log is removed, so that its successor has another one
--   B:<i>:p       hash    n<p> next position · f<p> first kept position · a<p> last instant · s<p> bytes kept
--   B:<i>:s<p>    stream  the runs
--   B:<i>:r       hash    `<p>:<reader>` where it stands
--   B:<i>:w       hash    `e:<writer>` its epoch · `<p>:<writer>` the last sequence stored
--   B:<i>:q<id>   hash    a producer: e epoch · x when its life was prolonged · <p> the next sequence and its last five batches, newest first,
--                         as doubles (sequence, count, first position)
--   B:w           channel the number of a partition that has grown, or `-` when the log was removed
local call = redis.call
local base = KEYS[1]

local function text(number)
  return string.format('%.17g', number)
end

-- The server's clock in whole milliseconds; the same all through one script.
local function clock()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- `nil` when there is none.
local function openLog()
  local fields = call('HMGET', base, 'i', 'n', 'm', 'b')
  if not fields[1] then
    return nil
  end
  return {
    incarnation = fields[1],
    key = base .. ':' .. fields[1],
    partitions = tonumber(fields[2]),
    retentionMs = tonumber(fields[3]),
    retentionBytes = tonumber(fields[4]),
  }
end

local function partitionOf(log, number)
  local fields = call('HMGET', log.key .. ':p', 'n' .. number, 'f' .. number, 'a' .. number, 's' .. number)
  return {
    log = log,
    number = number,
    stream = log.key .. ':s' .. number,
    next = tonumber(fields[1]) or 0,
    first = tonumber(fields[2]) or 0,
    at = tonumber(fields[3]) or 0,
    bytes = tonumber(fields[4]) or 0,
  }
end

local function save(partition)
  local number = partition.number
  call(
    'HSET', partition.log.key .. ':p',
    'n' .. number, text(partition.next), 'f' .. number, text(partition.first),
    'a' .. number, text(partition.at), 's' .. number, text(partition.bytes)
  )
end

-- A run as a stream gives it.
local function runOf(entry)
  local stop, count = string.match(entry[1], '^(%d+)-(%d+)$')
  stop, count = tonumber(stop), tonumber(count)
  return { id = entry[1], first = stop - count, stop = stop, count = count, at = tonumber(entry[2][1]), packed = entry[2][2] }
end

-- The run that holds the position, or the next one.
local function runAt(partition, position)
  local found = call('XRANGE', partition.stream, text(position + 1), '+', 'COUNT', 1)
  if #found == 0 then
    return nil
  end
  return runOf(found[1])
end

-- Lets the oldest runs go that the retention does not keep: whoever comes along works it off, some at a time.
local function trim(partition, now)
  local log = partition.log
  if not log.retentionMs and not log.retentionBytes then
    return
  end
  local changed = false
  for _ = 1, 256 do
    local run = runAt(partition, partition.first)
    if not run then
      break
    end
    local isOld = log.retentionMs and run.at < now - log.retentionMs
    local isMuch = log.retentionBytes and partition.bytes - #run.packed >= log.retentionBytes
    if not isOld and not isMuch then
      break
    end
    call('XDEL', partition.stream, run.id)
    partition.first = run.stop
    partition.bytes = partition.bytes - #run.packed
    changed = true
  end
  if changed then
    save(partition)
  end
end

-- Adds chunks × (count, packed records) from ARGV[at] on. Instants never go back, whatever the clock does.
local function addRuns(partition, chunks, at, now)
  if now > partition.at then
    partition.at = now
  end
  for i = 1, chunks do
    local count, packed = tonumber(ARGV[at + 2 * i - 2]), ARGV[at + 2 * i - 1]
    partition.next = partition.next + count
    partition.bytes = partition.bytes + #packed
    call('XADD', partition.stream, text(partition.next) .. '-' .. count, text(partition.at), packed)
  end
  save(partition)
  call('PUBLISH', base .. ':w', partition.number)
end

-- Whether the writer with this epoch has been succeeded, or was never opened for this log.
local function isFenced(log, writer, epoch)
  return call('HGET', log.key .. ':w', 'e:' .. writer) ~= epoch
end

local function hasPartition(log, number)
  return tonumber(number) < log.partitions
end
