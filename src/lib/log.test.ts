import { describe, expect, test } from 'vitest'
import { openLog } from './log.ts'

class EngineAway extends Error {
  override readonly name = 'EngineAway'
}

/** What is written for one line. */
function written(error: Error): Record<string, unknown> & { err: Record<string, unknown> } {
  const lines: string[] = []
  openLog('info', { write: line => void lines.push(line) }).warn({ err: error }, 'it is away')
  return JSON.parse(lines[0]!)
}

test('a line says in words how bad it is and when', () => {
  const { level, time } = written(new EngineAway('silent'))
  expect(level).toBe('warn')
  expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
})

test('an engine that is away is told with its cause and without a stack, which a bug keeps', () => {
  const away = written(new EngineAway('refused an operation', { cause: new Error('READONLY') }))
  expect(away.err).toMatchObject({ type: 'EngineAway', message: 'refused an operation: READONLY' })
  expect(away.err).not.toHaveProperty('stack')
  expect(written(new Error('a bug')).err.stack).toContain('log.test.ts')
})

test('what looks like a secret is cut out of messages and stacks', () => {
  const { err } = written(new Error('the upstream said: bad key sk-proj-abcdefgh12345'))
  expect(JSON.stringify(err)).not.toContain('abcdefgh12345')
  expect(err.message).toContain('[secret]')
})

describe('the line of a call', () => {
  const fields = { call: 'c1', user: 'some "one"\\\n', group: null, account: undefined, stream: false, inputTokens: 12, cost: '0.000123' }

  test('is what any other line with these fields would be, to the byte', () => {
    const lines: string[] = []
    const log = openLog('info', { write: line => void lines.push(line.replace(/"time":"[^"]+"/, '"time":""')) })
    log.info(fields, 'call')
    log.call(fields)
    expect(lines[1]).toBe(lines[0])
  })

  test('is not written where only warnings are wanted', () => {
    const lines: string[] = []
    openLog('warn', { write: line => void lines.push(line) }).call(fields)
    expect(lines).toEqual([])
  })
})
