import { describe, expect, test } from 'vitest'
import type { Script } from '../../sim/script.ts'
import { type OpenStream, openStream, type StreamEvent } from '../client.ts'
import { openWorld, type World } from '../world.ts'

/** SPEC 1.7: a stream that began always ends properly. */

/** Reads to the end. The body must end as HTTP says: `rest` rejects when the connection breaks. */
async function read(stream: OpenStream): Promise<StreamEvent[]> {
  return (await stream.rest()).filter(({ type }) => type !== 'comment')
}

describe('a stream whose upstream', () => {
  const ends: readonly (readonly [string, Script, string])[] = [
    ['breaks', { end: 'cut', afterEvents: 7 }, 'stream_cut'],
    ['breaks right after its first event', { end: 'cut', afterEvents: 1 }, 'stream_cut'],
    ['breaks within an event', { end: 'cut', afterBytes: 3500 }, 'stream_cut'],
    ['ends too early', { end: 'eof', afterEvents: 7 }, 'stream_unended'],
    ['ends within an event', { end: 'eof', afterBytes: 3500 }, 'stream_unended'],
    ['falls silent', { end: 'stall', afterEvents: 7 }, 'stream_stalled'],
    ['falls silent within an event', { end: 'stall', afterBytes: 3500 }, 'stream_stalled'],
    ['says error and ends', { end: 'error', afterEvents: 7 }, 'stream_unended'],
  ]

  test.for(ends)('%s is ended by a failed response, and by nothing after it', async ([, script, fault]) => {
    await using world = await openWorld({ settings: { betweenBytesTimeoutMs: 300 } })
    world.sim.script({}, script)
    await using stream = openStream(world)
    const events = await read(stream)
    const [created] = events
    const failed = events.at(-1)!
    expect(failed).toMatchObject({ type: 'response.failed', name: 'response.failed' })
    expect(failed.response).toEqual({
      ...created!.response,
      status: 'failed',
      error: { code: 'server_error', message: 'The upstream ended the answer before it was complete' },
      incomplete_details: null,
      completed_at: null,
    })
    expect(events.map(({ data }) => data.sequence_number)).toEqual(events.map((_, n) => n))
    expect(events.filter(({ type }) => type === 'response.failed').length).toBe(1)
    const [row] = await world.rows()
    expect(row).toMatchObject({ ended: 'cut', fault, basis: 'estimated', status: 200n })
    expect((await world.attempts())[0]).toMatchObject({ fault, answered: 1n, status: 200n })
    await world.quiet()
  })

  test('breaks under an alias keeps the name that the client knows', async () => {
    await using world = await openWorld({ accounts: [{ models: { fast: 'sim' } }] })
    world.sim.script({}, { end: 'cut', afterEvents: 5, model: 'sim-2026-03-05' })
    await using stream = openStream(world, { body: { model: 'fast' } })
    const events = await read(stream)
    expect(events.at(-1)!.response).toMatchObject({ model: 'fast', status: 'failed' })
    expect(stream.text).not.toContain('sim-2026')
    await world.quiet()
  })

  test('ends by an event that cannot be read is ended by one that can', async () => {
    await using world = await openWorld()
    const created = '{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","model":"sim"}}'
    const bytes = `event: response.created\ndata: ${created}\n\nevent: response.completed\ndata: {"type":"response.completed","resp\n\n`
    world.sim.script({}, { rawBody: bytes, headers: { 'content-type': 'text/event-stream' } })
    await using stream = openStream(world)
    expect((await read(stream)).map(({ type }) => type)).toEqual(['response.created', 'response.failed'])
    expect((await world.rows())[0]).toMatchObject({ ended: 'cut', fault: 'stream_malformed' })
    await world.quiet()
  })

  test('sends an event that is too large is ended', async () => {
    await using world = await openWorld({ settings: { answerBytesMax: 100_000 } })
    world.sim.script({}, { hugeEventBytes: 200_000 })
    await using stream = openStream(world)
    const events = await read(stream)
    expect(events.at(-1)).toMatchObject({ type: 'response.failed', response: { error: { code: 'server_error' } } })
    expect((await world.rows())[0]).toMatchObject({ ended: 'cut', fault: 'stream_malformed' })
    await world.quiet()
  })

  test('is silent for a while, but not for too long, is waited for', async () => {
    await using world = await openWorld({ settings: { betweenBytesTimeoutMs: 400 } })
    world.sim.script({}, { betweenEventsMs: 60 }) // All of them together take longer than one silence may.
    await using stream = openStream(world)
    expect((await read(stream)).at(-1)?.type).toBe('response.completed')
    await world.quiet()
  })
})

describe('after nothing but waiting comments', () => {
  /** The upstream answers late, so that the stream has been begun with comments by then. */
  async function afterComments(script: Script): Promise<{ world: World; events: StreamEvent[]; id: string }> {
    const world = await openWorld({ settings: { attemptCommentMs: 15 } })
    world.sim.script({}, { ...script, hold: 'late' })
    await using stream = openStream(world)
    const { headers, status } = await stream.begun
    expect([status, headers['content-type']]).toEqual([200, 'text/event-stream'])
    expect(await stream.next()).toMatchObject({ type: 'comment', raw: ':' })
    world.sim.open('late')
    const events = await read(stream)
    await world.quiet()
    return { world, events, id: String(headers['x-request-id']) }
  }

  const failures: readonly (readonly [string, Script, object, string])[] = [
    [
      'a refused credential',
      { status: 401 },
      { code: null, message: 'Upstream authentication failed, please contact administrator', param: null, type: 'upstream_error' },
      'server_error',
    ],
    [
      'a rate limit',
      { status: 429, headers: { 'retry-after': '30' } },
      {
        code: null,
        message: expect.stringMatching(/^Upstream rate limit exceeded, please retry later\. Please try again in (29|30) s\.$/),
        param: null,
        type: 'rate_limit_error',
      },
      'rate_limit_exceeded',
    ],
    [
      'a refusal of the call itself',
      { status: 400, error: { code: 'context_length_exceeded', message: 'Too “long”.', param: 'input' } },
      { code: 'context_length_exceeded', message: 'Too “long”.', param: 'input', type: 'invalid_request_error' },
      'context_length_exceeded',
    ],
    [
      'a refusal without a code',
      { status: 422, error: { message: 'No.' } },
      { code: null, message: 'No.', param: null, type: 'invalid_request_error' },
      'invalid_prompt',
    ],
    [
      'a refusal that is a page',
      { status: 413, rawBody: '<html>Too large</html>' },
      { code: null, message: '<html>Too large</html>', param: null, type: 'invalid_request_error' },
      'invalid_prompt',
    ],
  ]

  test.for(failures)('%s is an error event and a failed response', async ([, script, said, failedCode]) => {
    const { world, events, id } = await afterComments(script)
    await using _ = world
    const { type, ...told } = said as { type: string; message: string }
    expect(events.map(event => event.type)).toEqual(['error', 'response.failed'])
    const [error, failed] = events
    expect(error!.data).toEqual({ type: 'error', sequence_number: 0, ...told, error: { type, message: told.message } })
    expect(failed!.data.sequence_number).toBe(1)
    expect(failed!.response).toMatchObject({
      id: `resp_hg_${id}`,
      object: 'response',
      status: 'failed',
      model: 'sim',
      error: { code: failedCode, message: told.message },
      output: [],
      usage: null,
    })
    expect((await world.rows())[0]).toMatchObject({ ended: 'refused', cost: 0n })
  })

  test('an answer that came whole is told as a stream that begins and ends', async () => {
    const body =
      '{\n "id":"resp_1", "object":"response", "status":"completed", "model":"sim",\n "output":[], "usage":{"input_tokens":3,"output_tokens":1}}\n'
    const { world, events } = await afterComments({ rawBody: body })
    await using _ = world
    expect(events.map(({ type }) => type)).toEqual(['response.created', 'response.completed'])
    expect(events[0]!.data).toMatchObject({ sequence_number: 0, response: { id: 'resp_1', status: 'in_progress', usage: null } })
    expect(events[1]!.data).toEqual({ type: 'response.completed', sequence_number: 1, response: JSON.parse(body) })
    expect((await world.rows())[0]).toMatchObject({ ended: 'completed', basis: 'reported', input_tokens: 3n, output_tokens: 1n })
  })

  test('an answer goes on as if there had been none', async () => {
    const { world, events } = await afterComments({})
    await using _ = world
    expect(events.map(({ data }) => data.sequence_number)).toEqual(events.map((_, n) => n))
    expect(events.at(-1)?.type).toBe('response.completed')
  })
})
