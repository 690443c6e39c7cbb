import { held } from './leaving.ts'
import { answer, cut, last, nothing, type Row } from './row.ts'

/** One way in which a call can end. */
export interface EndingRow {
  readonly ending: string
  /** Not: no such ending is possible there. */
  readonly stream: ByPolicy
  readonly json: ByPolicy | string
}

/** What a group does with answers whose client left may make a difference only where somebody leaves. */
type ByPolicy = Row | { readonly drain: Row; readonly abort: Row }

const reported = { attempts: 'a1 200', charged: 'reported' } as const
const refused = { sees: last.other, charged: 'none' } as const
const gone = { sees: nothing } as const

/** The same as a stream and as JSON. */
const both = (ending: string, row: Omit<Row, 'what'>): EndingRow => ({
  ending,
  stream: { what: ending, ...row },
  json: { what: ending, ...row },
})

function broken(ending: string, end: 'cut' | 'stall' | 'reset' | 'eof', [ofStream, ofJson]: readonly [string, JsonFault]): EndingRow {
  const [attempts, rests] = jsonAttempts[ofJson]
  return {
    ending,
    stream: {
      what: ending,
      // Slow, so that a reset does not overtake what was sent before it.
      a1: { end, afterEvents: 7, betweenEventsMs: 5 },
      sees: cut,
      attempts: `a1 200 ${ofStream}`,
      charged: 'estimated',
      rests: 'a1 failed 1',
    },
    json: { what: ending, a1: { end }, ...refused, attempts, rests },
  }
}

type JsonFault = keyof typeof jsonAttempts

/** What broke may do better the second time; what came whole and is no answer will not. */
const jsonAttempts = {
  body_cut: ['a1 200 body_cut, a1 200 body_cut', 'a1 failed 2'],
  body_malformed: ['a1 200 body_malformed', 'a1 failed 1'],
} as const

function left(
  ending: string,
  row: Omit<Row, 'what' | 'sees' | 'attempts' | 'charged'>,
  cutAs: Pick<Row, 'attempts' | 'charged'>,
): ByPolicy {
  const drain: Row = { what: ending, ...row, ...gone, attempts: 'a1 200', charged: 'drained' }
  return { drain, abort: { ...drain, ...cutAs } }
}

/** Every way in which a call can end. What each is charged stands, with the reason, in docs/billing.md. */
export const endings: readonly EndingRow[] = [
  both('completed', { a1: {}, sees: answer(), ...reported }),
  both('completed, no usage', {
    a1: { usage: null, text: 'No gate may open twice.' },
    sees: answer(),
    attempts: 'a1 200',
    charged: 'estimated',
  }),
  both('incomplete', { a1: { end: 'incomplete', afterEvents: 7 }, sees: answer('incomplete'), ...reported }),
  both('failed', { a1: { end: 'failed', afterEvents: 7 }, sees: answer('failed'), ...reported }),
  both('failed, no usage', {
    a1: { end: 'failed', afterEvents: 7, usage: null },
    sees: answer('failed'),
    attempts: 'a1 200',
    charged: 'none',
  }),
  both('cancelled', { a1: { end: 'cancelled', afterEvents: 7 }, sees: answer('cancelled'), ...reported }),
  {
    ending: 'client gone before the headers',
    stream: left('a stream', { a1: { hold: held.headers }, leaves: 'before the headers' }, { attempts: 'a1 - aborted', charged: 'none' }),
    json: left('JSON', { a1: { hold: held.headers }, leaves: 'before the headers' }, { attempts: 'a1 - aborted', charged: 'none' }),
  },
  {
    ending: 'client gone before the first event',
    stream: left(
      'a stream',
      { a1: { hold: held.firstEvent }, leaves: 'before the first event' },
      { attempts: 'a1 200 aborted', charged: 'none' },
    ),
    json: left(
      'JSON',
      { a1: { hold: held.firstEvent }, leaves: 'before the first event' },
      { attempts: 'a1 200 aborted', charged: 'none' },
    ),
  },
  {
    ending: 'client gone in the middle',
    stream: left('a stream', { a1: { hold: held.middle }, leaves: 'in the middle' }, { attempts: 'a1 200 aborted', charged: 'estimated' }),
    json: 'comes in one piece',
  },
  {
    ending: 'client gone after the last event',
    stream: { what: 'a stream', a1: {}, leaves: 'after the end', ...gone, ...reported },
    json: 'comes in one piece',
  },
  broken('upstream cut', 'cut', ['stream_cut', 'body_cut']),
  broken('upstream stalled', 'stall', ['stream_stalled', 'body_cut']),
  broken('upstream reset', 'reset', ['stream_cut', 'body_cut']),
  broken('ended without a terminal event', 'eof', ['stream_unended', 'body_malformed']),
  both('connect timeout', { first: 'mute', ...refused, attempts: 'mute - connect_timeout', rests: 'mute failed 1' }),
  {
    ending: 'first-event timeout',
    stream: {
      what: 'a stream',
      a1: { end: 'stall', afterEvents: 0 },
      ...refused,
      attempts: 'a1 200 first_event_timeout',
      rests: 'a1 failed 1',
    },
    json: { what: 'JSON', a1: { end: 'stall', noHeaders: true }, ...refused, attempts: 'a1 - headers_timeout', rests: 'a1 failed 1' },
  },
  {
    ending: 'failover after a beginning that only we saw',
    stream: {
      what: 'a stream whose first event is an error',
      a1: { errorFirst: true },
      a2: {},
      sees: answer(),
      attempts: 'a1 500 server, a2 200',
      charged: 'reported',
      rests: 'a1 failed 1',
    },
    json: {
      what: 'JSON that is cut midway',
      a1: { end: 'cut' },
      a2: {},
      sees: answer(),
      attempts: 'a1 200 body_cut, a2 200',
      charged: 'reported',
      rests: 'a1 failed 1',
    },
  },
]
