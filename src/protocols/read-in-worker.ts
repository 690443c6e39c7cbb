import { Worker, type WorkerOptions } from 'node:worker_threads'
import type { CallReading, Protocol } from './protocol.ts'

/** Reads bodies: small ones at once, larger ones in a worker thread, so that no body stalls the streams. */
export interface CallReader {
  /** What the body says. A promise only for a body over `readAtOnceBytesMax`; it rejects with `CallReaderBroken`. */
  read(body: Buffer, protocol: Protocol): CallReading | Promise<CallReading>
  /** Ends the worker. What is being read is rejected. Safe twice. */
  close(): Promise<void>
}

/** Up to here reading takes about a millisecond, which is less than a worker's round trip under load is worth. */
export const readAtOnceBytesMax = 256 * 1024

/** The worker died or was closed: nobody knows what the body says. */
export class CallReaderBroken extends Error {
  override readonly name = 'CallReaderBroken'
}

/** A buffer to collect a body in. A large one is in shared memory, so that it reaches the worker without a copy. Not zeroed. */
export function allocateBody(bytes: number): Buffer {
  return bytes <= readAtOnceBytesMax ? Buffer.allocUnsafeSlow(bytes) : Buffer.from(new SharedArrayBuffer(bytes))
}

export interface ReadRequest {
  readonly number: number
  /** Its name in the list. */
  readonly protocol: string
  readonly shared: SharedArrayBuffer
  readonly offset: number
  readonly length: number
}

export interface ReadReply {
  readonly number: number
  readonly reading: CallReading
}

/**
 * The largest bodies that scan.ts lets through need about a quarter of this. It is no net: a thread that reaches its limit may
 * take the whole process along, so what a body may make of memory is bounded before it is parsed.
 */
const workerHeapMb = 4_096

export interface CallReaderOptions {
  /** Starts a thread on a module. Tests hold on to it, to end it when nobody expects it. */
  readonly startWorker?: (module: URL, options: WorkerOptions) => Worker
}

/**
 * The worker is started by the first large body, and anew by the next one after it died. Bodies are read one after the other. If
 * the worker dies, the body it was reading is rejected; those behind it are read by the next worker.
 */
export function openCallReader({ startWorker = (module, options) => new Worker(module, options) }: CallReaderOptions = {}): CallReader {
  /** In the order sent, so the first is the one being read. */
  const waiting = new Map<number, Waiting>()
  let worker: Worker | undefined
  let isClosed = false
  let next = 0

  function started(): Worker {
    if (worker !== undefined) return worker
    const born = startWorker(workerFile, { resourceLimits: { maxOldGenerationSizeMb: workerHeapMb } })
    let cause: unknown
    born.on('message', ({ number, reading }: ReadReply) => settle(number, reading))
    born.on('error', error => {
      cause = error
    })
    born.on('exit', () => replace(born, cause))
    worker = born
    return born
  }

  function settle(number: number, reading: CallReading | CallReaderBroken): void {
    const reader = waiting.get(number)
    waiting.delete(number)
    // A reader at rest must not keep the program alive.
    if (waiting.size === 0) worker?.unref()
    if (reading instanceof CallReaderBroken) reader?.reject(reading)
    else reader?.resolve(reading)
  }

  function replace(dead: Worker, cause: unknown): void {
    if (worker === dead) worker = undefined
    const [first, ...others] = waiting.keys()
    if (first === undefined) return
    settle(first, new CallReaderBroken('the reader of large bodies ended', { cause }))
    for (const number of others) {
      if (isClosed) settle(number, new CallReaderBroken('the reader of large bodies is closed'))
      else started().postMessage(waiting.get(number)?.request)
    }
  }

  function send(body: Buffer, { name: protocol }: Protocol): Promise<CallReading> {
    if (isClosed) return Promise.reject(new CallReaderBroken('the reader of large bodies is closed'))
    const request: ReadRequest = { number: next++, protocol, ...sharedOf(body) }
    return new Promise((resolve, reject) => {
      waiting.set(request.number, { request, resolve, reject })
      const reader = started()
      reader.ref()
      reader.postMessage(request)
    })
  }

  return {
    read: (body, protocol) => (body.length <= readAtOnceBytesMax ? protocol.readCall(body) : send(body, protocol)),
    async close() {
      isClosed = true
      await worker?.terminate()
    },
  }
}

interface Waiting {
  readonly request: ReadRequest
  readonly resolve: (reading: CallReading) => void
  readonly reject: (error: CallReaderBroken) => void
}

/** This file runs as TypeScript while developing and as JavaScript when published, and so does its worker. */
const workerFile = new URL(`./read-worker${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url)

/** A body in shared memory goes as it is. Any other is copied, because it is still to be sent upstream. */
function sharedOf(body: Buffer): Pick<ReadRequest, 'shared' | 'offset' | 'length'> {
  const { buffer, byteOffset: offset, length } = body
  if (buffer instanceof SharedArrayBuffer) return { shared: buffer, offset, length }
  const shared = new SharedArrayBuffer(length)
  body.copy(Buffer.from(shared))
  return { shared, offset: 0, length }
}
