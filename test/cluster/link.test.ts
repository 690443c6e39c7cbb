import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { until } from '../world.ts'
import { type Link, openLink } from './link.ts'

/** A server that says back what it hears. */
async function openWire(): Promise<AsyncDisposable & { readonly link: Link; readonly port: number; ends: number; serverHeard: string }> {
  await using scope = new AsyncDisposableStack()
  const wire = { ends: 0, serverHeard: '' }
  const server = createServer(socket => {
    socket.on('error', () => {}).on('close', () => (wire.ends += 1))
    socket.on('data', text => (wire.serverHeard += String(text)))
    socket.pipe(socket)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  scope.defer(() => void server.close())
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const link = scope.use(await openLink({ host: '127.0.0.1', port }))
  const rest = scope.move()
  return Object.assign(wire, { link, port, [Symbol.asyncDispose]: () => rest.disposeAsync() })
}

async function dial({ port }: Link): Promise<{ readonly socket: Socket; heard: string; isOver: boolean }> {
  const socket = connect(port, '127.0.0.1')
  const end = { socket, heard: '', isOver: false }
  socket.setEncoding('utf8').on('data', (text: string) => (end.heard += text))
  socket.on('error', () => {}).on('close', () => (end.isOver = true))
  await once(socket, 'connect')
  return end
}

test('what was slow arrives in its order when the wire is mended', async () => {
  await using wire = await openWire()
  const end = await dial(wire.link)
  end.socket.write('1')
  await until(() => end.heard === '1', 'nothing comes back')
  wire.link.slow(60_000)
  end.socket.write('2')
  wire.link.hold()
  end.socket.write('3')
  const other = await dial(wire.link)
  other.socket.write('a')
  wire.link.slow(20)
  await until(() => end.heard === '123' && other.heard === 'a', 'it does not arrive')
  end.socket.destroy()
  other.socket.destroy()
})

test('nothing arrives on a wire that is held, not even an end', async () => {
  await using wire = await openWire()
  const [end, other] = [await dial(wire.link), await dial(wire.link)]
  other.socket.write('1')
  await until(() => other.heard === '1', 'nothing comes back')
  wire.link.hold()
  end.socket.write('1')
  other.socket.destroy()
  // Long enough for whatever was let through: another connection is made and ended meanwhile, past the wire.
  const direct = connect(wire.port, '127.0.0.1')
  direct.end('1').resume()
  await until(() => wire.ends === 1, 'the direct one does not end')
  expect(wire.serverHeard).toBe('11')
  expect(wire.ends).toBe(1)
  wire.link.mend()
  await until(() => wire.ends === 2 && end.heard === '1', 'it does not arrive')
  end.socket.destroy()
})

test('a wire that is cut ends what there is, and what is new', async () => {
  await using wire = await openWire()
  const end = await dial(wire.link)
  wire.link.cut()
  const late = await dial(wire.link)
  await until(() => end.isOver && late.isOver && wire.ends === 1, 'it does not end')
  wire.link.mend()
  const next = await dial(wire.link)
  next.socket.write('1')
  await until(() => next.heard === '1', 'it is not mended')
  next.socket.destroy()
})
