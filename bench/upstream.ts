import { createServer, type Socket } from 'node:net'
import { type Answers, type Prepared, prepareAnswers } from './load/answers.ts'
import { afterOf, gapOf } from './load/request.ts'

/**
 * An upstream that costs next to nothing, so that it is not what is measured: it writes what `sim` would answer, prepared, straight to the
 * socket. It reads only what the gateways of this benchmark send: HTTP/1.1 with a content-length. `upstream.ts <port>`.
 */
const port = Number(process.argv[2])
if (!Number.isInteger(port)) throw new Error('upstream.ts takes a port')
const answers = await prepareAnswers()
let served = 0

createServer({ noDelay: true }, socket => hear(socket, answers)).listen(port, '127.0.0.1', () => process.stdout.write('ready\n'))

const headEnd = Buffer.from('\r\n\r\n')
const nothing = Buffer.alloc(0)

function hear(socket: Socket, made: Answers): void {
  let unread = nothing
  socket.on('data', chunk => {
    unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk])
    for (;;) {
      const bodyAt = unread.indexOf(headEnd) + headEnd.length
      if (bodyAt < headEnd.length) return
      const length = lengthOf(unread.toString('latin1', 0, bodyAt))
      if (length === undefined) return refuse(socket)
      if (unread.length < bodyAt + length) return
      const body = unread.subarray(bodyAt, bodyAt + length)
      unread = unread.subarray(bodyAt + length)
      answer(socket, body, made)
    }
  })
  socket.on('error', () => socket.destroy())
}

function lengthOf(head: string): number | undefined {
  const found = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  return found === undefined ? undefined : Number(found)
}

function refuse(socket: Socket): void {
  socket.end('HTTP/1.1 411 Length Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
}

function answer(socket: Socket, body: Buffer, { json, stream }: Answers): void {
  const gapMs = gapOf(body)
  if (gapMs !== undefined) return play(socket, stream, gapMs)
  const afterMs = afterOf(body)
  if (afterMs === 0) socket.write(renewed(json))
  else setTimeout(() => socket.write(renewed(json)), afterMs * spread())
}

const goldenRatio = 0.618_033_988_75
let taken = 0

/** From half to one and a half, one in the mean: as long as each other, calls that began together would end together, again and again. */
function spread(): number {
  taken += 1
  return 0.5 + ((taken * goldenRatio) % 1)
}

/** The first event at once, every other so many milliseconds after the one before. */
function play(socket: Socket, { ends, ...made }: Prepared, gapMs: number): void {
  const bytes = renewed(made)
  let next = 0
  const write = () => {
    socket.write(bytes.subarray(next === 0 ? 0 : ends[next - 1], ends[next]))
    next += 1
    if (next === ends.length || socket.destroyed) clearInterval(timer)
  }
  const timer = setInterval(write, gapMs)
  write()
}

/** Under ids that no other answer has. */
function renewed({ bytes, idsAt, idLength }: Pick<Prepared, 'bytes' | 'idsAt' | 'idLength'>): Buffer {
  const copy = Buffer.from(bytes)
  const id = String((served += 1)).padStart(idLength, '0')
  for (const at of idsAt) copy.write(id, at, 'latin1')
  return copy
}
