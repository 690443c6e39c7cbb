import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { checksum, checksumDigits } from '../lib/checksum.ts'
import { DatabaseAway } from '../storage/database.ts'
import { fromPlainText, plainText } from './plain.ts'

/**
 * Charges that the books could not take in time, written down so that they are not lost, and taken when the books are back.
 *
 * One charge a line: its checksum, then JSON, in which an amount is decimal text. A charge is everything that settles a call (the
 * settle, the call's row, its attempts, its owners), as plain values, because nothing else may be left of it after a power cut.
 */
export interface Owed<Charge> extends AsyncDisposable {
  /** How many are still to be taken. */
  readonly size: number

  /** Has reached the disk when it resolves. Rejects with the file system's error: the charge is then not in the journal. */
  add(charge: Charge): Promise<void>

  /**
   * Gives each charge to `take`, oldest first, and forgets it once `take` resolved; those that are added meanwhile too.
   * Rejects with `DatabaseAway` when `take` does, and keeps the rest. A charge that `take` refuses for another reason is
   * reported, kept, and does not stand in the way of the others. After a crash in between, charges come a second time:
   * `take` must know them by their call's id.
   */
  replay(take: (charge: Charge) => Promise<void>): Promise<void>

  /** Closes the file, after what was added has been written. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Something in the journal needs a person's eye. Nothing is dropped: a damaged line goes to the file `<journal>.damaged`. */
export type OwedTrouble =
  /** The file ended within a line, as a power cut leaves it; that charge had not been acknowledged. */
  | { readonly trouble: 'torn'; readonly line: string }
  /** A whole line is not what was written. The charge was acknowledged, and is now a person's to settle. */
  | { readonly trouble: 'corrupt'; readonly line: string }
  /** The books refuse this charge. It stays in the journal. */
  | { readonly trouble: 'refused'; readonly line: string; readonly cause: unknown }

/**
 * Opens the journal, or makes it, readable by its owner alone. Only one process may have it open. Rejects with a sentence for the
 * operator when it cannot be opened, or has a torn end for which there is no room.
 */
export async function openOwed<Charge>(path: string, report: (trouble: OwedTrouble) => void): Promise<Owed<Charge>> {
  const { file, lines, end } = await openWhole(path, report).catch(cause => {
    throw new Error(`The journal of owed charges ${path} cannot be opened: ${cause instanceof Error ? cause.message : cause}.`, { cause })
  })
  const journal = openJournal(file, lines, end)
  let replaying: Promise<void> | undefined
  let closing: Promise<void> | undefined

  async function replay(take: (charge: Charge) => Promise<void>): Promise<void> {
    // A set shows what is added to it while it is walked through.
    for (const line of lines) {
      if (await takeLine(await readBytes(file, line), take)) lines.delete(line)
    }
    await journal.clear()
  }

  /** Whether the journal may forget it. */
  async function takeLine(bytes: Buffer, take: (charge: Charge) => Promise<void>): Promise<boolean> {
    const json = checkedJson(bytes)
    if (json === undefined) {
      await setAside(path, bytes)
      report({ trouble: 'corrupt', line: bytes.toString() })
      return true
    }
    try {
      await take(fromPlainText(json) as Charge)
      return true
    } catch (cause) {
      if (cause instanceof DatabaseAway) throw cause
      report({ trouble: 'refused', line: json, cause })
      return false
    }
  }

  return {
    get size() {
      return lines.size
    },
    add: charge => journal.append(lineOf(charge)),
    replay(take) {
      replaying ??= replay(take).finally(() => {
        replaying = undefined
      })
      return replaying
    },
    [Symbol.asyncDispose]() {
      closing ??= journal.close()
      return closing
    },
  }
}

/** Where a line stands in the file. The charges themselves stay there: an outage may leave more of them than memory should hold. */
interface Line {
  readonly at: number
  readonly bytes: number
}

interface Appending {
  readonly line: Buffer
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Writes in turns. All who wait for a turn share its write and its sync. */
function openJournal(file: FileHandle, lines: Set<Line>, endOfFile: number) {
  let end = endOfFile
  let isDirty = false
  let waiting: Appending[] = []
  let turns: Promise<unknown> = Promise.resolve()

  function inTurn(work: () => Promise<void>): Promise<void> {
    const turn = turns.then(work)
    turns = turn.catch(() => undefined) // Whoever asked for the turn is told; the next one is not to blame.
    return turn
  }

  async function writeGroup(): Promise<void> {
    const group = waiting
    waiting = []
    try {
      // A write that failed may have left half of itself, which must not stay in front of or behind a good one.
      if (isDirty) await file.truncate(end)
      isDirty = true
      await writeAll(file, Buffer.concat(group.map(({ line }) => line)), end)
      await file.datasync()
      isDirty = false
    } catch (error) {
      for (const { reject } of group) reject(error)
      return
    }
    for (const { line, resolve } of group) {
      lines.add({ at: end, bytes: line.length })
      end += line.length
      resolve()
    }
  }

  return {
    append(line: Buffer): Promise<void> {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      if (waiting.push({ line, resolve, reject }) === 1) void inTurn(writeGroup)
      return promise
    },
    /** Empties the file, when every line of it has been taken. */
    clear: () =>
      inTurn(async () => {
        if (lines.size > 0 || end === 0) return
        await file.truncate(0)
        end = 0
        await file.datasync()
      }),
    close: () => inTurn(() => file.close()),
  }
}

/** With nothing behind its last whole line. */
async function openWhole(path: string, report: (trouble: OwedTrouble) => void) {
  const file = await open(path, constants.O_RDWR | constants.O_CREAT, fileMode)
  try {
    await file.chmod(fileMode)
    await syncFolder(path)
    const { lines, end, torn } = await findLines(file)
    if (torn.length === 0) return { file, lines, end }
    await setAside(path, torn)
    report({ trouble: 'torn', line: torn.toString() })
    await file.truncate(end)
    return { file, lines, end }
  } catch (error) {
    await file.close()
    throw error
  }
}

const fileMode = 0o600
const chunkBytes = 64 * 1024
const newline = 0x0a

async function findLines(file: FileHandle): Promise<{ readonly lines: Set<Line>; readonly end: number; readonly torn: Buffer }> {
  const lines = new Set<Line>()
  const chunk = Buffer.alloc(chunkBytes)
  let end = 0
  let position = 0
  for (;;) {
    const { bytesRead } = await file.read(chunk, 0, chunkBytes, position)
    if (bytesRead === 0) break
    const read = chunk.subarray(0, bytesRead)
    for (let found = read.indexOf(newline); found >= 0; found = read.indexOf(newline, found + 1)) {
      lines.add({ at: end, bytes: position + found + 1 - end })
      end = position + found + 1
    }
    position += bytesRead
  }
  return { lines, end, torn: await readBytes(file, { at: end, bytes: position - end }) }
}

async function readBytes(file: FileHandle, { at, bytes }: Line): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes)
  for (let read = 0; read < bytes; ) {
    const { bytesRead } = await file.read(buffer, read, bytes - read, at + read)
    if (bytesRead === 0) return buffer.subarray(0, read)
    read += bytesRead
  }
  return buffer
}

async function writeAll(file: FileHandle, buffer: Buffer, at: number): Promise<void> {
  for (let written = 0; written < buffer.length; ) {
    written += (await file.write(buffer, written, buffer.length - written, at + written)).bytesWritten
  }
}

/** JSON has no newline of its own, so a line is a line. */
function lineOf(charge: unknown): Buffer {
  const json = plainText(charge)
  return Buffer.from(`${checksum(json)} ${json}\n`)
}

/** What the line says; undefined when it is not what was written. */
function checkedJson(line: Buffer): string | undefined {
  const json = line.toString('utf8', checksumDigits + 1, line.length - 1)
  return line.toString('latin1', 0, checksumDigits + 1) === `${checksum(json)} ` ? json : undefined
}

async function setAside(path: string, bytes: Buffer): Promise<void> {
  const damaged = await open(`${path}.damaged`, 'a', fileMode)
  await damaged.appendFile(bytes.at(-1) === newline ? bytes : Buffer.concat([bytes, Buffer.of(newline)]))
  await damaged.sync()
  await damaged.close()
}

/** A file that was just made is found again after a power cut only when its folder has been synced too. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), 'r')
  await folder.sync()
  await folder.close()
}
