import { expect, test } from 'vitest'
import { type AttemptFault, attemptFaults, type Headers, verdictOfCode, verdictOfStatus } from './verdict.ts'

const nowMs = Date.parse('2026-11-22T10:00:00Z')
const error = (code: unknown, type: unknown = 'invalid_request_error') =>
  JSON.stringify({ error: { message: '', type, code, param: null } })

function verdict(status: number, body = '', headers: Headers = {}): AttemptFault['name'] | 'client' {
  const found = verdictOfStatus(status, headers, body, nowMs)
  return found === 'client' ? found : found.name
}

const statuses: readonly (readonly [number, string, AttemptFault['name'] | 'client'])[] = [
  [400, '', 'client'],
  [400, error('context_length_exceeded'), 'client'],
  [400, error('insufficient_quota'), 'client'],
  [401, '', 'auth'],
  [401, error('invalid_api_key'), 'auth'],
  [402, '', 'quota'],
  [403, '', 'forbidden'],
  [404, '', 'client'],
  [404, error(null), 'client'],
  [404, error('model_not_found'), 'model_not_found'],
  [404, '<html>', 'client'],
  [408, '', 'client'],
  [409, '', 'client'],
  [413, '', 'client'],
  [422, '', 'client'],
  [429, '', 'limited'],
  [429, '<html>', 'limited'],
  [429, error('rate_limit_exceeded', 'requests'), 'limited'],
  [429, error('rate_limit_exceeded', 'tokens'), 'limited'],
  [429, error('slow_down'), 'limited'],
  [429, error('insufficient_quota', 'insufficient_quota'), 'quota'],
  [429, error(null, 'insufficient_quota'), 'quota'],
  [429, error('credit_balance_exhausted'), 'quota'],
  [429, error('organization_spend_limit_exceeded'), 'quota'],
  [429, error('project_spend_limit_exceeded'), 'quota'],
  [429, error('organization_usage_limit_exceeded'), 'quota'],
  [429, error('billing_hard_limit_reached'), 'quota'],
  [429, error(429), 'limited'],
  [429, '{"error":"slow"}', 'limited'],
  [429, 'null', 'limited'],
  [498, '', 'overloaded'],
  [500, '', 'server'],
  [501, '', 'server'],
  [502, '<html>', 'server'],
  [503, '', 'overloaded'],
  [503, error('server_is_overloaded'), 'overloaded'],
  [504, '', 'server'],
  [529, '', 'overloaded'],
  [599, '', 'server'],
  [301, '', 'redirect'],
  [307, '', 'redirect'],
]

test.for(statuses)('%i %s is %s', ([status, body, wanted]) => {
  expect(verdict(status, body)).toBe(wanted)
})

const asks: readonly (readonly [string, Headers, number | undefined])[] = [
  ['nothing', {}, undefined],
  ['whole seconds', { 'retry-after': '17' }, 17_000],
  ['a fraction', { 'retry-after': '0.5' }, 500],
  ['none at all', { 'retry-after': '0' }, undefined],
  ['what is below zero', { 'retry-after': '-3' }, undefined],
  ['a blank', { 'retry-after': '' }, undefined],
  ['for ever, and gets a day', { 'retry-after': '99999999' }, 86_400_000],
  ['a date', { 'retry-after': 'Sun, 22 Nov 2026 10:00:30 GMT' }, 30_000],
  ['a date that is over', { 'retry-after': 'Sun, 22 Nov 2026 09:00:00 GMT' }, undefined],
  ['nonsense', { 'retry-after': 'soon' }, undefined],
  ['milliseconds, which win', { 'retry-after': '17', 'retry-after-ms': '1500' }, 1500],
  ['a limit that ran out', { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '12ms' }, 12],
  ['minutes and seconds', { 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '6m0s' }, 360_000],
  ['hours, minutes and a half second', { 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '1h2m3.5s' }, 3_723_500],
  ['days', { 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '1d' }, 86_400_000],
  ['bare seconds', { 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '2.5' }, 2500],
  ['a limit with something left', { 'x-ratelimit-remaining-tokens': '1', 'x-ratelimit-reset-tokens': '6m0s' }, undefined],
  [
    'the longer of two that ran out',
    {
      'x-ratelimit-remaining-tokens': '0',
      'x-ratelimit-reset-tokens': '20s',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '1m',
    },
    60_000,
  ],
  ['Retry-After before any limit', { 'retry-after': '3', 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '1m' }, 3000],
  ['a reset that cannot be read', { 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': 'never' }, undefined],
  ['the first of several', { 'retry-after': ['4', '5'] }, 4000],
]

test.for(asks)('a 429 may ask for %s', ([, headers, askedMs]) => {
  expect(verdictOfStatus(429, headers, '', nowMs)).toEqual({ name: 'limited', status: 429, askedMs })
})

test.for([500, 503])('%i may ask for time, but a rate limit says nothing about it', status => {
  const limits = { 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '1m' }
  expect(verdictOfStatus(status, { ...limits, 'retry-after': '7' }, '', nowMs)).toMatchObject({ askedMs: 7000 })
  expect(verdictOfStatus(status, limits, '', nowMs)).toMatchObject({ askedMs: undefined })
})

const codes: readonly (readonly [string | null, string | null, string])[] = [
  ['server_error', null, 'server 500'],
  ['rate_limit_exceeded', null, 'limited 429'],
  ['insufficient_quota', null, 'quota 429'],
  ['server_is_overloaded', null, 'overloaded 529'],
  ['invalid_api_key', null, 'auth 401'],
  [null, 'server_error', 'server 500'],
  ['529', null, 'overloaded 529'],
  ['invalid_prompt', 'server_error', 'client'],
  ['context_length_exceeded', null, 'client'],
  ['cyber_policy', null, 'client'],
  ['something_new', null, 'client'],
  [null, null, 'client'],
]

test.for(codes)('a first event with code %s and type %s is %s', ([code, type, wanted]) => {
  const found = verdictOfCode(code, type)
  expect(found === 'client' ? found : `${found.name} ${found.status}`).toBe(wanted)
})

test('whose own fault it never is, and what a moment may mend', () => {
  const names = Object.entries(attemptFaults)
  const named = (is: (entry: (typeof names)[number][1]) => boolean) => names.filter(([, entry]) => is(entry)).map(([name]) => name)
  expect(named(({ elsewhere }) => !elsewhere)).toEqual([
    'body_too_large',
    'stream_cut',
    'stream_stalled',
    'stream_unended',
    'stream_malformed',
    'aborted',
    'gateway',
  ])
  expect(named(({ passing }) => passing)).toEqual(['reset', 'body_cut', 'server'])
  expect(named(({ blames, elsewhere }) => !blames && !elsewhere)).toEqual(['body_too_large', 'aborted', 'gateway'])
})
