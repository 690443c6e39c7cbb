import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fdatasync,
  fsyncSync,
  openSync,
  readFileSync,
  statSync,
  write,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { checksum, checksumDigits } from '../lib/checksum.ts'
import type { Clock } from '../lib/clock.ts'
import { Gathering } from '../lib/gathering.ts'

/**
 * Calls that have ended, each a line on the disk, until the books have them: the book of first entry. A line is written and synced in a fraction
 * of what the books take, and that is all a client waits for; the books take many calls at one stroke, behind it.
 *
 * The file is two halves of one length, written in turns, each from its beginning once the books have all that stands in it. So it never grows:
 * a sync then has nothing to wait for but the lines. A line is its checksum, then JSON: its number, the number of the oldest line that the books
 * might not have, and what was written. Whoever opens the books next reads the file first.
 */
export interface Daybook {
  /** Writes a line of JSON, together with all that are added before the next write. Returns its number; undefined when there is no room for it. */
  add(json: string, line: Line): number | undefined
  /** The books have every line below this number. */
  posted(below: number): void
  /** After what was added has been written. When the books have every line, the file says so. */
  close(): Promise<void>
}

/** Whoever waits for a line. */
export interface Line {
  /** It has reached the disk. With an error, of the file system or because it took too long, it may be there or not. Told once, and never at once. */
  written(error?: unknown): void
}

/** What a process that died left in its daybook. */
export interface LeftLines {
  /** What was written in each line that the books might not have, in the order of writing. */
  readonly lines: readonly string[]
  /** How many lines that were written are not what was written. The whole file is kept beside it then, as `<daybook>.damaged`. */
  readonly damaged: number
}

export const halfBytes = 4 * 1024 * 1024
const pageBytes = 4096
const fileMode = 0o600

/** Nothing when there is no file. Throws a sentence for the operator. */
export function readDaybook(path: string): LeftLines {
  return toldOperator(path, () => {
    const found = existsSync(path) ? linesIn(readFileSync(path)) : []
    const last = found.at(-1)
    const left = found.filter(({ number }) => number >= (last?.oldest ?? 0))
    const damaged = last === undefined ? 0 : last.number - last.oldest + 1 - left.length
    if (damaged > 0) keepAside(path)
    return { lines: left.flatMap(({ json }) => (json === closing ? [] : [json])), damaged }
  })
}

/** Beside those of earlier times. */
function keepAside(path: string): void {
  let aside = `${path}.damaged`
  for (let count = 2; existsSync(aside); count += 1) aside = `${path}.damaged-${count}`
  copyFileSync(path, aside)
  const copy = openSync(aside, 'r')
  fsyncSync(copy)
  closeSync(copy)
}

/**
 * Goes on with the file when it is a daybook, else makes one, readable by its owner alone. What stood in it is as good as gone: read it before. A write
 * that takes longer than `lateMs` counts as failed. Throws a sentence for the operator.
 */
export function openDaybook(path: string, clock: Clock, lateMs: number): Daybook {
  return toldOperator(path, () => {
    const last = existsSync(path) && statSync(path).size === 2 * halfBytes ? linesIn(readFileSync(path)).at(-1) : undefined
    if (last === undefined) make(path)
    const file = openSync(path, constants.O_WRONLY | (writesThrough ?? 0))
    const place = last === undefined ? { number: 1, half: 0 } : { number: last.number + 1, half: 1 - halfOf(last.at) }
    return new TwoHalves(file, place, { clock, lateMs })
  })
}

/** All of it from the first day, page by page, as the slips are: see there. */
function make(path: string): void {
  const file = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, fileMode)
  const page = Buffer.alloc(pageBytes)
  for (let at = 0; at < 2 * halfBytes; at += pageBytes) writeSync(file, page, 0, pageBytes, at)
  fsyncSync(file)
  closeSync(file)
  // A file that was just made is found again after a power cut only when its folder has been synced too.
  const folder = openSync(dirname(path), 'r')
  fsyncSync(folder)
  closeSync(folder)
}

/** By which each write has reached the disk when it is done: one way to the system, where a write and a sync are two. Windows has no such flag. */
const writesThrough: number | undefined = constants.O_DSYNC

function writeAndSync(file: number, bytes: Buffer, { from, to }: Pick<Group, 'from' | 'to'>, then: (error?: unknown) => void): void {
  const count = to - from
  write(file, bytes, from, count, from, (failure, written) => {
    const error = failure ?? (written < count ? new Error('a line was written in part') : undefined)
    if (error !== undefined || writesThrough !== undefined) then(error)
    else fdatasync(file, unsynced => then(unsynced ?? undefined))
  })
}

function toldOperator<Result>(path: string, work: () => Result): Result {
  try {
    return work()
  } catch (cause) {
    throw new Error(`The daybook ${path} cannot be used: ${cause instanceof Error ? cause.message : cause}.`, { cause })
  }
}

/** Lines that travel together: they stand behind each other in one half. */
interface Group {
  readonly from: number
  to: number
  /** Emptied when they have been told. */
  lines: Line[]
}

interface Waits {
  readonly clock: Clock
  readonly lateMs: number
}

class TwoHalves implements Daybook {
  readonly #file: number
  readonly #waits: Waits
  /** What the file has, as far as this process wrote it, and is to have: each line is put where it will stand. */
  readonly #bytes = Buffer.alloc(2 * halfBytes)
  #next: number
  #oldest: number
  /** Where the next line goes. */
  #at: number
  /** The last line of the half that is not written now. */
  #lastOfOther = 0
  readonly #waiting: Group[] = []
  readonly #gathering = new Gathering(
    () => this.#waiting.reduce((sum, { lines }) => sum + lines.length, 0),
    () => this.#write(),
  )
  #isWriting = false
  /** The write that is under way takes too long: until it returns, others need not wait behind it. */
  #isStuck = false
  /** From where on what was to be written is not: nothing may stand behind a gap, which would be read as one line with it. */
  #unwrittenFrom: number | undefined
  #closed: (() => void) | undefined

  constructor(file: number, { number, half }: { readonly number: number; readonly half: number }, waits: Waits) {
    this.#file = file
    this.#waits = waits
    this.#next = number
    this.#oldest = number
    this.#at = half * halfBytes
  }

  add(json: string, line: Line): number | undefined {
    const number = this.#next
    const numbers = `${number} ${this.#oldest} `
    if (this.#isStuck || !this.#makeRoom(checksumDigits + numbers.length + Buffer.byteLength(json) + 1)) return undefined
    this.#next += 1
    const group = this.#groupAt(this.#at)
    this.#at = group.to = this.#put(numbers, json)
    group.lines.push(line)
    if (!this.#isWriting) this.#gathering.now()
    return number
  }

  posted(below: number): void {
    this.#oldest = Math.max(this.#oldest, Math.min(below, this.#next))
  }

  async close(): Promise<void> {
    if (this.#oldest === this.#next && this.#next > 1) this.add(closing, { written: () => {} })
    if (this.#isWriting || this.#waiting.length > 0) await new Promise<void>(resolve => (this.#closed = resolve))
    closeSync(this.#file)
  }

  /** In this half, else in the other one, if the books have all of it. */
  #makeRoom(bytes: number): boolean {
    const end = this.#at < halfBytes ? halfBytes : 2 * halfBytes
    if (this.#at + bytes <= end) return true
    if (bytes > halfBytes || this.#lastOfOther >= this.#oldest) return false
    this.#lastOfOther = this.#next - 1
    this.#at = end % (2 * halfBytes)
    return true
  }

  #fromIn({ from }: Group): number {
    return this.#unwrittenFrom !== undefined && halfOf(this.#unwrittenFrom) === halfOf(from) ? this.#unwrittenFrom : from
  }

  #groupAt(at: number): Group {
    const last = this.#waiting.at(-1)
    if (last?.to === at) return last
    const group: Group = { from: at, to: at, lines: [] }
    this.#waiting.push(group)
    return group
  }

  /** Puts the line where the next one goes, and says where it ends. */
  #put(numbers: string, json: string): number {
    const from = this.#at + checksumDigits
    const middle = from + this.#bytes.write(numbers, from, 'latin1')
    const end = middle + this.#bytes.write(json, middle)
    this.#bytes.write(checksum(this.#bytes.subarray(from, end)), this.#at, 'latin1')
    this.#bytes[end] = newline
    return end + 1
  }

  #write(): void {
    const group = this.#waiting.shift()
    if (group === undefined) return
    const { clock, lateMs } = this.#waits
    const from = this.#fromIn(group)
    this.#isWriting = true
    const late = clock.after(lateMs, () => {
      this.#isStuck = true
      for (const one of [group, ...this.#waiting]) tell(one, new Error(`no answer in ${lateMs} ms`))
    })
    writeAndSync(this.#file, this.#bytes, { from, to: group.to }, error => {
      late[Symbol.dispose]()
      this.#isWriting = false
      this.#isStuck = false
      this.#unwrittenFrom = error === undefined ? undefined : from
      tell(group, error)
      if (this.#waiting.length > 0) this.#gathering.soon()
      else this.#closed?.()
    })
  }
}

function halfOf(at: number): number {
  return at < halfBytes ? 0 : 1
}

function tell(group: Group, error: unknown): void {
  const { lines } = group
  group.lines = []
  for (const line of lines) line.written(error)
}

/** What the last line says when the books have all. */
const closing = 'null'
const newline = 0x0a

interface FoundLine {
  readonly at: number
  readonly number: number
  readonly oldest: number
  readonly json: string
}

/** In the order in which they were written. */
function linesIn(bytes: Buffer): readonly FoundLine[] {
  const lines: FoundLine[] = []
  for (let half = 0; half < bytes.length; half += halfBytes) {
    const end = Math.min(half + halfBytes, bytes.length)
    for (let at = half; at < end; ) {
      const newlineAt = bytes.indexOf(newline, at)
      if (newlineAt < 0 || newlineAt >= end) break
      const line = lineIn(bytes.subarray(at, newlineAt), at)
      if (line !== undefined) lines.push(line)
      at = newlineAt + 1
    }
  }
  return lines.sort((one, other) => one.number - other.number)
}

function lineIn(bytes: Buffer, at: number): FoundLine | undefined {
  if (bytes.toString('latin1', 0, checksumDigits) !== checksum(bytes.subarray(checksumDigits))) return undefined
  const text = bytes.toString('utf8', checksumDigits)
  const [numbers, number, oldest] = /^(\d+) (\d+) /.exec(text)!
  return { at, number: Number(number), oldest: Number(oldest), json: text.slice(numbers.length) }
}
