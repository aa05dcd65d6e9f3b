-- Where a group starts. A part that other scripts begin with; needs partition.part.lua.
--
-- A target in ARGV: `now` · `earliest` · `at`, instant · `positions`, how many, (partition, position) × so many

-- The target as a function from a partition to a position, `nil` where it says nothing of that one.
local function readTarget(at)
  local kind = ARGV[at]
  if kind == 'now' then
    return function(partition)
      return partition.next
    end
  elseif kind == 'earliest' then
    return function(partition)
      return partition.first
    end
  elseif kind == 'at' then
    local instant = tonumber(ARGV[at + 1])
    -- The first run published at or after the instant: within a partition, instants never go back.
    return function(partition)
      local from, to = partition.first, partition.next
      while from < to do
        local middle = math.floor((from + to) / 2)
        local run = call('XRANGE', partition.stream, text(middle + 1), '+', 'COUNT', 1)[1]
        local last, count = string.match(run[1], '^(%d+)-(%d+)$')
        if tonumber(run[2][1]) >= instant then
          to = math.min(middle, last - count)
        else
          from = tonumber(last)
        end
      end
      return math.max(from, partition.first)
    end
  end
  local positions = {}
  for i = 0, tonumber(ARGV[at + 1]) - 1 do
    positions[ARGV[at + 2 + 2 * i]] = tonumber(ARGV[at + 3 + 2 * i])
  end
  return function(partition)
    local position = positions[partition.number]
    return position and math.min(math.max(position, partition.first), partition.next)
  end
end
