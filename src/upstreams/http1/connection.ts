import type { Socket } from 'node:net'
import { exactly } from '../../lib/bytes.ts'
import type { Pieces } from '../pieces.ts'
import { AnswerReader } from './answer-reader.ts'
import type { Exchange, Line, Request } from './exchange.ts'
import { AnswerFlaw } from './flaw.ts'

/** Whose a connection is. */
export interface Owner {
  /** Copies what was read into a buffer for all. */
  readonly pieces: Pieces
  /** It has nothing to do, and may be kept for so long; without a word of that, for as long as it might have been before. */
  freed(connection: Connection, keepMs?: number): void
  /** It is closed. */
  gone(connection: Connection): void
}

/** Below this, a request is one buffer: one write is cheaper than several. */
const joinBytesMax = 256 * 1024
/** A large body is given to the socket in such pieces, each when the one before it is gone. */
const pieceBytes = 1024 * 1024

/** One connection, of one exchange at a time. */
export class Connection implements Line {
  /** When it must not be used any more, by whoever keeps it. */
  keptUntilMs = 0
  readonly #owner: Owner
  readonly #socket: Socket
  /** What is read lies where the next will be read to. */
  readonly #isShared: boolean
  readonly #reader = new AnswerReader()
  #exchange: Exchange | undefined
  /** What was read and not told, because silence was asked for. */
  #untold: Buffer | undefined
  #isTelling = false
  /** The upstream has closed, in order, while silence was asked for: that comes after what is untold. */
  #hasEnded = false
  /** What has not been given to the socket, and how much of its first slice has been. */
  #unsent: Buffer[] = []
  #sentOfFirst = 0

  /** `isShared`: what is read is given to `take` in a buffer for all; otherwise the socket's own events bring it. */
  constructor(socket: Socket, isShared: boolean, owner: Owner) {
    this.#socket = socket
    this.#isShared = isShared
    this.#owner = owner
    // A socket that was closed with an error has nobody else to tell it to.
    socket.on('error', error => this.#fail(error))
    socket.on('end', () => this.#ended())
    socket.on('close', () => this.#closed())
    socket.on('drain', () => this.#sendOn())
    if (isShared) return
    socket.on('data', (bytes: Buffer) => this.take(bytes, bytes.length))
    // The socket of a tunnel has been read from before, and was stopped.
    socket.resume()
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed
  }

  /** Writes a request, and reads its answer. */
  begin(exchange: Exchange): void {
    // What is under way keeps the program alive; what is only kept does not.
    this.#socket.ref()
    this.#exchange = exchange
    if (exchange.start(this)) return this.#send(exchange.takeRequest())
    this.#exchange = undefined
    this.#free()
  }

  /** So many bytes were read into this buffer. */
  take(bytes: Buffer, length: number): void {
    // It is not known what that answers: whoever asks next would be given it.
    if (this.#exchange === undefined) return this.close()
    if (this.#exchange.isPaused) this.#keepUntold(bytes.subarray(0, length))
    else this.#tell(bytes, length)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    if (this.#isTelling) return void this.#socket.resume() // What is being told is told on.
    const untold = this.#untold
    this.#untold = undefined
    if (untold !== undefined) this.#tell(untold, untold.length)
    if (this.#hasEnded && this.#exchange?.isPaused === false) return this.#ended()
    if (this.#exchange?.isPaused !== true && this.isOpen) this.#socket.resume()
  }

  abandon(): void {
    this.#exchange = undefined
    this.close()
  }

  /** What is under way ends with this error. */
  close(error?: Error): void {
    const exchange = this.#exchange
    this.#exchange = undefined
    this.#untold = undefined
    this.#unsent = []
    this.#socket.destroy()
    if (error !== undefined) exchange?.fail(error)
  }

  // Reading -----------------------------------------------------------------------------------------------------------

  #tell(bytes: Buffer, length: number): void {
    this.#isTelling = true
    try {
      this.#read(bytes, length)
    } catch (error) {
      this.#fail(error)
    }
    this.#isTelling = false
  }

  #read(bytes: Buffer, length: number): void {
    const reader = this.#reader
    const exchange = this.#exchange
    reader.at = 0
    while (exchange !== undefined && this.#exchange === exchange) {
      if (exchange.isPaused) return this.#keepUntold(bytes.subarray(reader.at, length))
      switch (reader.read(bytes, length)) {
        case 'more':
          return
        case 'head':
          exchange.answer(reader.head.status, reader.head.headers)
          break
        case 'body':
          exchange.bring(this.#pieceOf(bytes, reader.from, reader.at))
          break
        case 'end':
          return this.#answered(exchange, reader.at === length)
      }
    }
  }

  #pieceOf(bytes: Buffer, from: number, to: number): Buffer {
    return this.#isShared ? this.#owner.pieces.copyOf(bytes, from, to) : bytes.subarray(from, to)
  }

  #keepUntold(bytes: Buffer): void {
    // No byte may be left as well: the end of an answer is told after its last piece.
    this.#untold = exactly(this.#untold === undefined ? bytes : Buffer.concat([this.#untold, bytes]))
  }

  /** Only when all was written and no more was read is it known what the next bytes will be. */
  #answered(exchange: Exchange, isAllRead: boolean): void {
    const { keepMs } = this.#reader.head
    const isAllSent = this.#unsent.length === 0 && this.#socket.writableLength === 0
    this.#exchange = undefined
    // Whatever a connection that has become old kept of an answer would become old with it: a head for each call.
    this.#reader.begin()
    if (isAllRead && isAllSent) this.#free(keepMs)
    else this.close()
    exchange.end()
  }

  #free(keepMs?: number): void {
    if (keepMs === 0 || !this.isOpen || this.#hasEnded) return this.close()
    this.#socket.unref()
    this.#owner.freed(this, keepMs)
  }

  #ended(): void {
    const exchange = this.#exchange
    if (exchange === undefined) return this.close()
    if (exchange.isPaused) {
      this.#hasEnded = true
      return
    }
    try {
      this.#reader.finish()
    } catch (error) {
      return this.#fail(error)
    }
    this.abandon()
    exchange.end()
  }

  #fail(error: unknown): void {
    this.close(error instanceof Error ? error : new Error(String(error)))
  }

  #closed(): void {
    if (this.#exchange !== undefined && !this.#hasEnded) this.close(new AnswerFlaw('the connection was closed before the answer ended'))
    this.#owner.gone(this)
  }

  // Writing -----------------------------------------------------------------------------------------------------------

  #send({ head, body }: Request): void {
    if (body.length === 0) return void this.#socket.write(head, 'latin1')
    let bytes = head.length
    for (const slice of body) bytes += slice.length
    if (bytes <= joinBytesMax) return void this.#socket.write(joinedWith(head, body, bytes))
    this.#unsent = [...body]
    this.#sentOfFirst = 0
    this.#socket.cork()
    this.#socket.write(head, 'latin1')
    this.#sendOn()
    this.#socket.uncork()
  }

  /** A slice is let go when it was given to the socket. */
  #sendOn(): void {
    for (let slice = this.#unsent[0]; slice !== undefined; slice = this.#unsent[0]) {
      const piece = slice.subarray(this.#sentOfFirst, this.#sentOfFirst + pieceBytes)
      this.#sentOfFirst += piece.length
      if (this.#sentOfFirst === slice.length) {
        this.#unsent.shift()
        this.#sentOfFirst = 0
      }
      if (!this.#socket.write(piece)) return
    }
  }
}

function joinedWith(head: string, body: readonly Buffer[], bytes: number): Buffer {
  const whole = Buffer.allocUnsafe(bytes)
  let at = whole.write(head, 'latin1')
  for (const slice of body) at += slice.copy(whole, at)
  return whole
}
