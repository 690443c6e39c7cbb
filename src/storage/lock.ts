import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { access, constants, mkdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/**
 * Makes this process the only one on a data folder, which is created for its owner alone when it is missing. Given back on disposal.
 *
 * The lock is the operating system's, held by SQLite on a file of its own: it ends with the process, however that ends.
 * Rejects with a sentence for the operator when another process has it, or the folder cannot be used.
 */
export async function lockFolder(path: string): Promise<Disposable> {
  await makeUsable(path)
  const owner = join(path, 'lock.owner')
  const lock = acquire(path, owner)
  try {
    writeFileSync(owner, `process ${process.pid} on ${hostname()}, since ${new Date().toISOString()}`)
  } catch (error) {
    lock.close()
    throw unusable(path, error)
  }
  held.add(lock)
  return {
    [Symbol.dispose]() {
      if (!held.delete(lock)) return
      rmSync(owner, { force: true })
      lock.close()
    },
  }
}

/** A lock that nobody refers to would be collected as garbage, and so be given back without a word. */
const held = new Set<DatabaseSync>()

async function makeUsable(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw unusable(path, error)
  }
}

function acquire(path: string, owner: string): DatabaseSync {
  let lock: DatabaseSync | undefined
  try {
    lock = new DatabaseSync(join(path, 'lock'))
    lock.exec('begin exclusive')
    return lock
  } catch (error) {
    lock?.close()
    if (!isBusy(error)) throw unusable(path, error)
    throw new Error(
      `The data folder ${path} is in use by another Headgate (${ownerIn(owner)}). Stop that one, or give this one a folder of its own.`,
    )
  }
}

/** SQLITE_BUSY: another connection has the lock. */
function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === 5
}

function ownerIn(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return 'which has not written down who it is' // The lock is what counts; the name in the file only helps to find its holder.
  }
}

function unusable(path: string, cause: unknown): Error {
  const why = whys[codeOf(cause)] ?? `user ${process.getuid?.() ?? ''} cannot write in it`
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new Error(`The data folder ${path} cannot be used: ${why} (${reason}).`, { cause })
}

/** SQLite tells its own number beside a code that all of its errors share. */
function codeOf(cause: unknown): string {
  if (!(cause instanceof Error)) return ''
  if ('errcode' in cause) return `sqlite ${Number(cause.errcode) & 0xff}`
  return 'code' in cause ? String(cause.code) : ''
}

const whys: Readonly<Record<string, string>> = {
  EEXIST: 'there is a file of that name',
  ENOTDIR: 'a part of its path is a file',
  ENOSPC: 'the disk is full',
  'sqlite 13': 'the disk is full',
  EROFS: 'its file system is read-only',
}
