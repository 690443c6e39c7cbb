import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { keepInFlight } from './load/load.ts'
import { type Plan, runRounds } from './rounds.ts'
import type { Scenario } from './scenarios.ts'
import { direct } from './subjects/bare.ts'
import { isThere } from './subjects/program.ts'
import type { Subject } from './subjects/subject.ts'

const callers = [{ key: 'sk-1' }]
const refusal = 'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n'

test.skipIf(!isThere('taskset', '--version'))(
  'who answers wrong is struck out, and so is who has lost a call; the others go on',
  async () => {
    let isTired = false
    const tired = createServer(socket => {
      const behind = connect(upstreamPort, '127.0.0.1')
      for (const one of [socket, behind]) one.on('error', () => one.destroy())
      if (isTired) socket.end(refusal)
      else socket.pipe(behind).pipe(socket)
    }).listen(0, '127.0.0.1')
    await once(tired, 'listening')
    const address = tired.address()
    if (address === null || typeof address === 'string') throw new Error('a listening socket has a port')
    let upstreamPort = 0

    const refuses: Subject = {
      ...{ name: 'refuses', about: 'answers, and then no more' },
      async start(ground) {
        upstreamPort = ground.upstreamPort
        return { port: address.port, pids: () => [], callers, [Symbol.asyncDispose]: async () => void tired.close() }
      },
    }
    const loses: Subject = {
      ...{ name: 'loses', about: 'has lost a call' },
      start: async ground => ({
        ...(await direct.start(ground)),
        audit: async calls => Promise.reject(new Error(`${calls - 1} of ${calls}`)),
      }),
    }
    const scenario: Scenario = {
      ...{ name: 'json50', about: 'JSON calls', unit: 'call', ask: { stream: false } },
      run(load) {
        isTired = true
        return keepInFlight(load, 2, 50)
      },
    }
    const folder = mkdtempSync(join(tmpdir(), 'headgate-bench-test-'))
    const plan: Plan = {
      subjects: [direct, refuses, loses],
      scenarios: [scenario],
      rounds: 2,
      warmUpMs: 20,
      folder,
      profiled: false,
      progress() {},
    }
    const { runs, struckOut } = await runRounds(plan)
    rmSync(folder, { recursive: true })
    expect([...runs.get('json50')!].map(([name, rounds]) => [name, rounds.length])).toEqual([['direct', 2]])
    expect(struckOut).toEqual([
      expect.stringContaining('refuses: JSON calls: refused: status 503'),
      expect.stringMatching(/loses: its books: \d+ of \d+/),
    ])
  },
)
