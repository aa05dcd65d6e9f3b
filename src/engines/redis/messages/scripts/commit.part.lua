-- Recording a lane's progress. A part that other scripts begin with; needs partition.part.lua and lane.part.lua.
--
-- A change in ARGV, from 1 on:
--   group number · partition · fence · origin · ranges: pairs of u32, distance from `origin` and length · held entries ·
--   forgotten entries, then held × (position, entry), then forgotten × position

local trimMs, trimCount = 200, 256

local function readChange(topic)
  local lane = laneOf(topic, ARGV[1], ARGV[2])
  local change = { lane = lane, from = {}, to = {}, held = tonumber(ARGV[6]), forgotten = tonumber(ARGV[7]), at = 8 }
  local origin, ranges = tonumber(ARGV[4]), ARGV[5]
  local last = 0
  for at = 1, #ranges, 8 do
    local distance, length = struct.unpack('<I4I4', ranges, at)
    local index = #change.from + 1
    change.from[index] = origin + distance
    change.to[index] = origin + distance + length
    last = origin + distance + length
  end
  for i = 0, change.held - 1 do
    last = math.max(last, tonumber(ARGV[change.at + 2 * i]) + 1)
  end
  change.last = last
  return change, change.at + 2 * change.held + change.forgotten
end

-- Why the change is refused; `nil` when it may be written.
local function checkChange(topic, change)
  if change.lane.fence ~= ARGV[3] then
    return { 'lost' }
  end
  change.partition = partitionOf(topic, ARGV[2])
  if change.last > change.partition.next then
    return { 'position', text(change.partition.next) }
  end
  return nil
end

local function writeChange(change)
  local lane, partition, heldKey = change.lane, change.partition, change.lane.key .. ':h'
  local before = lane.low
  for i = 1, #change.from do
    settle(lane, change.from[i], change.to[i])
  end
  saveLane(lane)
  local at = change.at
  for _ = 1, change.held do
    local position = tonumber(ARGV[at])
    if not isSettled(lane, position) then
      call('HSET', heldKey, ARGV[at], ARGV[at + 1])
    end
    at = at + 2
  end
  for from = at, at + change.forgotten - 1, 1000 do
    call('HDEL', heldKey, unpack(ARGV, from, math.min(from + 999, at + change.forgotten - 1)))
  end
  if lane.low > before then
    local now = clock()
    -- Not with every commit: it takes a look at every group.
    local waited = now - partition.trimmedAt >= trimMs
    local far = math.floor(lane.low / trimCount) > math.floor(before / trimCount)
    if waited or far or lane.low == partition.next then
      trim(partition, now)
    end
  end
end
