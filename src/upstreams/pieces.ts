import { exactly } from '../lib/bytes.ts'

/** A piece that is not larger shares memory with others that came at about the same time. */
const sharingBytesMax = 1024
/** What one small piece can keep in memory, at most. */
const sharedBytes = 4 * 1024

/**
 * Copies what was read into a buffer that is read into again. Left alone, Node reads into pieces of 64 KiB, and whatever is kept of one
 * keeps all of it. A memory of its own for every small piece would cost more than the copy: a stream's come one event at a time.
 */
export class Pieces {
  #shared = Buffer.alloc(0)
  #at = 0

  /** Of the bytes between two places. */
  copyOf(read: Buffer, from: number, to: number): Buffer {
    const length = to - from
    if (length > sharingBytesMax) return exactly(read.subarray(from, to))
    if (this.#at + length > this.#shared.length) {
      this.#shared = Buffer.allocUnsafeSlow(sharedBytes)
      this.#at = 0
    }
    const piece = this.#shared.subarray(this.#at, this.#at + length)
    this.#at += length
    read.copy(piece, 0, from, to)
    return piece
  }
}
