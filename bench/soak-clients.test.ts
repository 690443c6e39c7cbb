import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { loadOf } from './soak-clients.ts'

test('clients that nobody answers any more are ended, counted, and say what they waited for', async () => {
  const open = new Set<Socket>()
  const silent = createServer(
    socket =>
      void open.add(
        socket
          .on('error', () => {})
          .on('close', () => open.delete(socket))
          .resume(),
      ),
  )
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  const address = silent.address()
  if (address === null || typeof address === 'string') throw new Error('a listening socket has a port')
  const lines: string[] = []
  const enough = Promise.withResolvers<void>()
  const tell = (line: string) => void (lines.push(line) >= 40 && enough.resolve())
  const target = { url: `http://127.0.0.1:${address.port}`, key: 'sk-1' }
  const clients = loadOf([target], { perSecond: 500, hungAfterMs: 20, tell })
  await enough.promise
  clients.stop()
  await clients.ended
  silent.close()
  const { calls, outcomes } = clients.told
  expect([...outcomes]).toEqual([['hung', calls]])
  expect(lines).toHaveLength(calls)
  expect(lines).toContain('hung: after 0.02 s a client still waited for the answer of sim')
  expect(lines).toContain('hung: after 0.02 s a client still waited for the stream of sim')
})
