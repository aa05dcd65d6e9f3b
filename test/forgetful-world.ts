import type { World } from "tenon/world";

/** Syncing does nothing. */
export function forgetfulWorld(world: World): World {
  const { disk } = world;
  return {
    ...world,
    disk: {
      rename: (from, to) => disk.rename(from, to),
      remove: (path) => disk.remove(path),
      list: (directory) => disk.list(directory),
      stat: (path) => disk.stat(path),
      makeDirectory: (path) => disk.makeDirectory(path),
      syncDirectory: (path) => disk.syncDirectory(path),
      freeSpace: (path) => disk.freeSpace(path),
      lock: (path, owner) => disk.lock(path, owner),
      async open(path, mode) {
        const file = await disk.open(path, mode);
        return {
          path,
          get sizeBytes() {
            return file.sizeBytes;
          },
          append: (bytes) => file.append(bytes),
          read: (position, into) => file.read(position, into),
          sync: async () => undefined,
          truncate: (sizeBytes) => file.truncate(sizeBytes),
          rewrite: (position, bytes) => file.rewrite(position, bytes),
          close: () => file.close(),
        };
      },
    },
  };
}
