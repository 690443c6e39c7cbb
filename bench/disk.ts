import { closeSync, fdatasyncSync, fsyncSync, openSync, statfsSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** f_type of statfs(2), from linux/magic.h, of the file systems on which books are likely to stand. */
const names: Readonly<Record<number, string>> = {
  61267: 'ext4',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  801189825: 'zfs',
  4076150800: 'f2fs',
  2035054128: 'overlayfs',
  26985: 'nfs',
  16914836: 'tmpfs',
}

/** Throws a sentence for memory that passes as a disk: a sync there costs nothing, and shows nothing. */
export function fileSystemOf(folder: string): string {
  const { type } = statfsSync(folder)
  const name = names[type] ?? `file system 0x${type.toString(16)}`
  if (name === 'tmpfs')
    throw new Error(`${folder} is in memory (tmpfs), where a sync costs nothing: name a folder on a disk with --folder.`)
  return name
}

const pageBytes = 4096

/** The two ways to ask the disk: SQLite as Node builds it calls fsync, the journal of what is owed fdatasync. */
export const syncs = { fdatasync: fdatasyncSync, fsync: fsyncSync }

/** The least that durability can cost here: one page appended and synced, again and again. Milliseconds each. */
export function timeSyncs(folder: string, sync: (file: number) => void, count: number): number[] {
  const file = openSync(join(folder, 'bare'), 'w')
  const page = Buffer.alloc(pageBytes, 1)
  const took: number[] = []
  for (let n = 0; n < count; n += 1) {
    const startedMs = performance.now()
    writeSync(file, page)
    sync(file)
    took.push(performance.now() - startedMs)
  }
  closeSync(file)
  return took
}

/** One row in a transaction of its own, synced as the books are (`wal`, `full`): the least that a settled call waits for. Milliseconds each. */
export function timeCommits(folder: string, count: number): number[] {
  using database = new DatabaseSync(join(folder, 'commits.db'))
  database.exec('pragma journal_mode = wal; pragma synchronous = full; create table if not exists settled (cost integer)')
  const insert = database.prepare('insert into settled values (1)')
  return Array.from({ length: count }, () => {
    const startedMs = performance.now()
    insert.run()
    return performance.now() - startedMs
  })
}
