/** The kinds of journal records. A number once given is never given again. */
export const recordKind = {
  // 1 and 2 told of topics and groups before these had numbers of their own.
  run: 3,
  delayed: 4,
  laneGranted: 5,
  laneReleased: 6,
  laneCommit: 7,
  laneSeek: 8,
  keyValues: 9,
  /** Which segment is the oldest from now on: `segment u32`. */
  oldestSegment: 10,
  topic: 11,
  group: 12,
  topicSettings: 13,
  topicRemoved: 14,
  groupRemoved: 15,
  /** A full topic's oldest messages were settled for every group. */
  evicted: 16,
  log: 17,
  logRetention: 18,
  /** A log's oldest records were dropped, as its retention lets them. */
  logTrimmed: 19,
  /** What a segment's snapshot holds beside topics and groups. */
  snapshotQueues: 20,
  snapshotLanes: 21,
  snapshotDelays: 22,
  snapshotProducers: 23,
  snapshotVersion: 24,
  snapshotNumbers: 25,
  snapshotLogs: 26,
  /** What leases, rates, and the readers and writers of logs keep, as entries. */
  states: 30,
  snapshotStatesVersion: 31,
} as const;

/** How many entries one snapshot record holds, so that none comes near the limit of a record. */
export const snapshotChunkCount = 4_096;
