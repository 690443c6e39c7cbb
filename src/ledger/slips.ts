import { closeSync, constants, existsSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { checksum, checksumDigits } from '../lib/checksum.ts'
import type { HoldRequest } from './steps.ts'

/**
 * Holds of which the books do not know yet, each a line in a file: a *slip*. The file is the system's, so it outlives this process, and whoever
 * opens the books next finds what was held when it died. A slip is never synced: as with a hold in the books, a power cut takes it and its call.
 *
 * The file is a ring of places of one length, so that it is written over and never grows: a file that grows would have every sync of the books
 * wait for its bytes. Each line is its checksum, then JSON: its number, the number of the oldest slip that was not over, and the hold.
 */
export interface Slips {
  /**
   * Makes out a slip, to be written with the next `flush`, and says its number. Undefined when it cannot be: the line is too long, or its place
   * is still needed because the slip `oldest` is not over.
   */
  add(hold: Slip, oldest: number | undefined): number | undefined
  /** Writes down all that were made out since. Throws the file system's error; what was not written then never is. */
  flush(): void
  /** The hold is over, and the books will never hear of it. Throws the file system's error. */
  strike(number: number): void
  close(): void
}

/** A hold of a wallet's money that was granted all that it wanted, `want`. */
export type Slip = Omit<HoldRequest, 'funds' | 'floor' | 'halfOfFree'> & { readonly walletId: string }

export const placesInFile = 4096
const placeBytes = 512
const fileBytes = placesInFile * placeBytes
const pageBytes = 4096
const fileMode = 0o600

/** What was held when the file was written last; nothing when there is none. Throws a sentence for the operator. */
export function readSlips(path: string): readonly Slip[] {
  if (!existsSync(path)) return []
  const lines = toldOperator(path, () => linesIn(readFileSync(path)))
  const oldest = lines.at(-1)?.oldest ?? 0
  return lines.filter(({ number }) => number >= oldest).map(({ slip }) => slip)
}

/** Begins a new file, in place of one that was read, readable by its owner alone. Throws a sentence for the operator. */
export function openSlips(path: string): Slips {
  return toldOperator(path, () => {
    rmSync(path, { force: true })
    const file = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, fileMode)
    // All of it from the first day, so that what is written later lies where something lay. And page by page: of a larger piece the system
    // keeps a larger piece in memory, and looks through all of it at each line (ext4, Linux 6.18: 8 µs in place of 2).
    const bytes = Buffer.alloc(fileBytes)
    for (let at = 0; at < fileBytes; at += pageBytes) writeSync(file, bytes, at, pageBytes, at)
    return slipsIn(file, bytes)
  })
}

function toldOperator<Result>(path: string, work: () => Result): Result {
  try {
    return work()
  } catch (cause) {
    throw new Error(`The file of holds ${path} cannot be used: ${cause instanceof Error ? cause.message : cause}.`, { cause })
  }
}

/** `bytes` is what the file has, and what it is to have. */
function slipsIn(file: number, bytes: Buffer): Slips {
  let next = 1
  let written = 0

  function writePlaces(first: number, last: number): void {
    const [from, to] = [placeOf(first), placeOf(last) + placeBytes]
    if (writeSync(file, bytes, from, to - from, from) < to - from) throw new Error('a line was written in part')
  }

  return {
    add(slip, oldest = next) {
      if (next - oldest >= placesInFile) return undefined
      const line = lineOf(next, oldest, slip)
      if (Buffer.byteLength(line) > placeBytes) return undefined
      bytes.write(line, placeOf(next))
      return next++
    },
    flush() {
      const [first, last] = [written + 1, next - 1]
      written = last
      const endOfRound = first + placesInFile - 1 - (first % placesInFile)
      if (first <= last) writePlaces(first, Math.min(last, endOfRound))
      if (last > endOfRound) writePlaces(endOfRound + 1, last)
    },
    strike(number) {
      bytes[placeOf(number)] = struck
      if (number <= written) writeSync(file, bytes, placeOf(number), 1, placeOf(number))
    },
    close: () => closeSync(file),
  }
}

/** In place of the first digit of the checksum: no line begins so. */
const struck = '-'.charCodeAt(0)

function placeOf(number: number): number {
  return (number % placesInFile) * placeBytes
}

interface Line {
  readonly number: number
  readonly oldest: number
  readonly slip: Slip
}

/** In the order in which they were written. What is no whole line was never granted. */
function linesIn(bytes: Buffer): readonly Line[] {
  const lines: Line[] = []
  for (let at = 0; at < bytes.length; at += placeBytes) {
    const found = lineIn(bytes.subarray(at, at + placeBytes))
    if (found !== undefined) lines.push(found)
  }
  return lines.sort((one, other) => one.number - other.number)
}

const newline = 0x0a

function lineOf(number: number, oldest: number, slip: Slip): string {
  const { callId, walletId, want, leaseId, userId, keyId, groupId, model, path, address, stream, beganAtMs } = slip
  const ids = [callId, walletId, leaseId, userId, keyId, groupId]
  const json = JSON.stringify([number, oldest, ...ids, String(want), model, path, address, stream, beganAtMs])
  return `${checksum(json)}${json}\n`
}

type Fields = [number, number, string, string, string, string, string, string, string, string, string, string, boolean, number]

function lineIn(place: Buffer): Line | undefined {
  const end = place.indexOf(newline)
  if (end < checksumDigits) return undefined
  const json = place.toString('utf8', checksumDigits, end)
  if (place.toString('latin1', 0, checksumDigits) !== checksum(json)) return undefined
  const [number, oldest, callId, walletId, leaseId, userId, keyId, groupId, want, ...call] = JSON.parse(json) as Fields
  const [model, path, address, stream, beganAtMs] = call
  const ids = { callId, walletId, leaseId, userId, keyId, groupId }
  return { number, oldest, slip: { ...ids, want: BigInt(want), model, path, address, stream, beganAtMs } }
}
