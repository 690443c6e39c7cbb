import { address, bytes, choice, count, ms, msList, networks, path, percent, type Setting, secret, text, url } from './kinds.ts'

/**
 * Every setting. Its name ends in its unit where it has one; HEADGATE_SNAKE_CASE is its environment variable,
 * --kebab-case its flag, and the name itself its line in the file. docs/settings.md is made from this table.
 */
export const groups = {
  program: {
    about: 'The program',
    settings: {
      listen: address({ host: '127.0.0.1', port: 8080 }, 'Where the gateway listens. Port 0 is any free port.'),
      data: path('./data', 'The folder with everything that must be kept: books, journal, keys. One gateway at a time.'),
      config: path(null, 'A YAML file with settings by name. What the environment or a flag says wins over it.'),
      secretKey: secret('Encrypts the secrets in the books. Without it one is made and kept in the data folder, as secret.key.', {
        takes: '32 bytes as 64 hexadecimal digits or as base64, which "openssl rand -hex 32" makes',
        pattern: /^([0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43}=?)$/,
      }),
      adminToken: secret('What the admin API asks for. Without it one is made and kept in the data folder, as admin.token.', {
        takes: 'at least 16 letters, digits and signs of ASCII, without blanks',
        pattern: /^[\x21-\x7e]{16,}$/,
      }),
      logLevel: choice(
        ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
        'info',
        'The least important kind of log line to write.',
      ),
      url: url('http://127.0.0.1:8080', 'Where the command line finds the gateway.'),
      trustedProxies: networks('Proxies whose word on the client address is believed. Empty: the socket alone says who calls.'),
      defaultInstructions: text('Added to calls that bring no instructions and do not come from Codex. Empty: nothing is added.'),
    },
  },
  clients: {
    about: 'What a client may send',
    settings: {
      headersTimeoutMs: ms(6_000, 'How long a client may take to send its headers.'),
      bodyIdleTimeoutMs: ms(15_000, 'How long a body may pause before its client is cut.'),
      bodyRateMin: count(1_024, 'bytes per second', 'The least average speed of a body. A slower client is cut. 0: any speed.'),
      bodyBytesMax: bytes(104_857_600, 'The largest body of one call, after decoding.'),
      bodiesBytesMax: bytes(536_870_912, 'All bodies together that are held in memory. Beyond it calls are asked to come back.'),
      callsInHandMax: count(
        100,
        'calls',
        'How many calls may be in hand at once: begun, and neither in a line nor with an upstream. What comes beyond waits unread, each key in turn. 0: any number.',
      ),
      refusalsPerMinute: count(
        120,
        'calls',
        'How many refused calls of one key in a minute are let through to be refused. Beyond it the key is slowed down until a call is served. 0: any number.',
      ),
      unknownKeyMs: ms(2_000, 'How long a key that the books do not know is refused without asking them again.', { min: 0 }),
    },
  },
  sockets: {
    about: 'WebSockets of clients',
    settings: {
      socketsPerUserMax: count(50, 'sockets', 'How many WebSockets a user may have open at once.', { min: 1 }),
      socketAgeMaxMs: ms(3_600_000, 'How long a WebSocket may be open; then its client must open a new one.', { min: 1 }),
      socketPingMs: ms(30_000, 'How often a client is pinged. One that has not answered by the next time is cut.', { min: 10 }),
      socketCallsMax: count(16, 'calls', 'How many calls may be under way on one WebSocket, those that wait in its lanes included.', {
        min: 1,
      }),
      socketLanesMax: count(32, 'lanes', 'How many lanes with a name one WebSocket may have.', { min: 0 }),
    },
  },
  lines: {
    about: 'Standing in line',
    settings: {
      lineExtra: count(20, 'calls', 'How many calls of a user may wait beyond as many as may run.'),
      lineTimeoutMs: ms(30_000, "How long a call waits for a slot of its user, and then again for an account's."),
      poolWaitingMax: count(100, 'calls', 'How many calls may wait for the accounts of one group.'),
      stickyWaitMs: ms(15_000, 'How long a session waits for its own account when that is only full.', { min: 0 }),
      stickyWaiting: count(3, 'calls', 'How many calls may wait for one account because their session is bound to it.'),
      sessionTtlMs: ms(3_600_000, 'How long a session stays bound to its account after its last use.'),
      waitingCommentMs: ms(10_000, 'After this silence a streaming client in a line hears a comment. 0: never.', { min: 0 }),
    },
  },
  attempts: {
    about: 'Attempts at an upstream',
    settings: {
      switchesMax: count(3, 'switches', 'How often a call may go on to another account after a fault.', { max: 20 }),
      sameAccountWaitMaxMs: ms(10_000, 'The longest wait before the last account is tried once more.', { min: 0 }),
      connectTimeoutMs: ms(5_000, 'How long connecting to an upstream may take.'),
      jsonHeadersTimeoutMs: ms(600_000, 'How long an upstream may take to begin a JSON answer.'),
      firstEventTimeoutMs: ms(120_000, 'How long an upstream may take until the first event of a stream.'),
      betweenBytesTimeoutMs: ms(180_000, 'How long an upstream may pause in the middle of an answer.'),
      attemptCommentMs: ms(15_000, 'After this silence a streaming client hears a comment while attempts are made. 0: never.', { min: 0 }),
    },
  },
  rests: {
    about: 'What a fault does to an account',
    settings: {
      rateRestMs: ms(60_000, 'The rest after a 429 that does not say how long.'),
      authRestsMs: msList([60_000, 300_000, 1_800_000], 'The rests after the first, second and every later 401 or 403 in a row.'),
      overloadRestMs: ms(10_000, 'The first rest after an overload (503, 498, 529). It doubles with each in a row.'),
      overloadRestMaxMs: ms(600_000, 'The longest rest after an overload.'),
      modelRestMs: ms(600_000, 'How long an account is not asked for a model that it said it does not have.'),
      quotaProbeMs: ms(3_600_000, 'How often an account whose quota ran out is tried with one call.', { min: 1_000 }),
      circuitFailures: count(5, 'failures', 'Failures in a row that open the circuit of an account.', { min: 1 }),
      circuitSuccessMin: percent(80, 'An account that succeeds less often than this has its circuit opened.'),
      circuitRestMs: ms(
        10_000,
        'How long an open circuit lets nobody through before one call may probe. It doubles with each probe that fails.',
      ),
      circuitRestMaxMs: ms(600_000, 'The longest that an open circuit lets nobody through.'),
      recordHalfLifeMs: ms(30_000, 'How long an account must be unused until half of what speaks against it is forgotten.'),
    },
  },
  answers: {
    about: 'The answer',
    settings: {
      silenceCommentMs: ms(15_000, 'After this silence of a stream its client hears a comment. 0: never.', { min: 0 }),
      stalledReaderMs: ms(60_000, 'How long a client may read nothing of its answer before it is cut.'),
      readerBufferBytes: bytes(65_536, 'How much of an answer is held for a slow reader, beyond one event.', { min: 1_024 }),
      answerBytesMax: bytes(134_217_728, 'The largest JSON answer, and the largest event of a stream.', { min: 65_536 }),
      drainMs: ms(60_000, 'How long an answer whose client left is read on to learn what it cost.', { min: 0 }),
      drainsMax: count(100, 'calls', 'How many such answers are read on at once; beyond it the oldest is cut.'),
    },
  },
  kept: {
    about: 'What upstreams keep: responses and conversations',
    settings: {
      keptAtOnceMax: count(20, 'requests', 'How many requests about what is kept one user may make at once. They stand in no line.', {
        min: 1,
      }),
      keptTimeoutMs: ms(30_000, 'How long an upstream may take to begin to tell of what it keeps.'),
      backgroundPollMs: ms(
        1_000,
        'How soon an upstream is first asked whether a response in the background is over. Then twice as long each time.',
      ),
      backgroundPollMaxMs: ms(10_000, 'The longest between two such questions.'),
      backgroundPollsMax: count(20, 'requests', 'How many such questions are asked at once.', { min: 1 }),
      backgroundMaxMs: ms(
        86_400_000,
        'After so long a response in the background is given up: its call costs nothing, and its row says so.',
      ),
    },
  },
  money: {
    about: 'Money and the books',
    settings: {
      databaseUrl: secret(
        'The PostgreSQL server that keeps the books, for as many gateways as share it. Without it they are a file in the data folder.',
        {
          takes: 'a URL such as postgres://headgate:password@db.example.com/headgate?sslmode=verify-full',
          pattern: /^postgres(ql)?:\/\/\S*\/\S+$/,
        },
      ),
      databaseConnections: count(4, 'connections', 'How many connections to that server hold, settle and look up; reports have two more.', {
        min: 1,
        max: 100,
      }),
      databaseStatementTimeoutMs: ms(5_000, 'How long that server may take for one statement before the books count as away.', {
        min: 100,
      }),
      settleWithinMs: ms(250, 'How long the books may take to book a charge before the journal on disk takes it.'),
      estimateWithinMs: ms(1_000, 'How long counting may take what an answer used when its upstream did not say; then its size must do.'),
      booksTimeoutMs: ms(
        2_000,
        'How long a call waits for the books to look up its key or set its money aside before it is told to come back.',
      ),
      holdFloorTokens: count(
        1_024,
        'tokens',
        'How much output a call must be able to pay for before it is begun; fewer when it asks for fewer.',
        { min: 1 },
      ),
      holdOutputTokens: count(
        128_000,
        'tokens',
        'How much output is held for when neither the client nor the price book says how much there can be.',
        { min: 1 },
      ),
      usageKeptDays: count(
        0,
        'days',
        'How long the rows of calls are kept: what each was, its attempts and its hold. Money stays accounted for. 0: for ever.',
        { min: 31, max: 36_500, orZero: true },
      ),
      leaseMs: ms(30_000, 'After this silence a gateway counts as dead: its holds expire and its slots are free.', { min: 1_000 }),
      leaseRenewMs: ms(5_000, 'How often a gateway says that it is alive.', { min: 100 }),
    },
  },
  nodes: {
    about: 'Several gateways',
    settings: {
      redisUrl: secret(
        'Where the gateways agree on what is in flight: slots, lines, rates, sessions, how accounts fare. Without it each is by itself.',
        {
          takes: 'redis://user:password@host:port/database or rediss://…, of which all but the host may be left out',
          pattern: /^rediss?:\/\/([^\s@/]*@)?[^\s@:/?#]+(:\d{1,5})?(\/\d{1,4})?$/,
        },
      ),
      redisTimeoutMs: ms(250, 'After this silence of Redis a gateway goes on alone, with its share of every limit.'),
    },
  },
  stopping: {
    about: 'Stopping',
    settings: {
      stopNoticeMs: ms(5_000, 'After the signal to stop, how long calls are still accepted while /readyz says 503.', { min: 0 }),
      stopStreamsMs: ms(60_000, 'How long running answers may then take to finish.', { min: 0 }),
    },
  },
} as const satisfies Record<string, SettingGroup>

export interface SettingGroup {
  readonly about: string
  readonly settings: Readonly<Record<string, Setting<unknown>>>
}

export const table = {
  ...groups.program.settings,
  ...groups.clients.settings,
  ...groups.sockets.settings,
  ...groups.lines.settings,
  ...groups.attempts.settings,
  ...groups.rests.settings,
  ...groups.answers.settings,
  ...groups.kept.settings,
  ...groups.money.settings,
  ...groups.nodes.settings,
  ...groups.stopping.settings,
} as const

type Table = typeof table

export type SettingName = keyof Table

/** The value of every setting, read once at the start. What each means, and its unit, stands in the table. */
export type Settings = { readonly [Name in SettingName]: Table[Name] extends Setting<infer V> ? V : never }

export const settingNames = Object.keys(table) as readonly SettingName[]

export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(table, name)
}

/** Widens one line of the table to what all of them have in common, so that they can be gone through in a loop. */
export function settingOf(name: SettingName): Setting<unknown> {
  return table[name]
}

/** bodyBytesMax → HEADGATE_BODY_BYTES_MAX */
export function variableOf(name: SettingName): string {
  return `HEADGATE_${snake(name).toUpperCase()}`
}

/** bodyBytesMax → --body-bytes-max */
export function flagOf(name: SettingName): string {
  return `--${snake(name).replaceAll('_', '-')}`
}

/** Settings that must agree: the first, so many times, may not be more than the second. */
export const agreements: readonly Agreement[] = [
  { name: 'overloadRestMs', times: 1, within: 'overloadRestMaxMs' },
  { name: 'circuitRestMs', times: 1, within: 'circuitRestMaxMs' },
  { name: 'backgroundPollMs', times: 1, within: 'backgroundPollMaxMs' },
  { name: 'bodyBytesMax', times: 1, within: 'bodiesBytesMax' },
  // One renewal may be late or lost without a living gateway being taken for dead.
  { name: 'leaseRenewMs', times: 2, within: 'leaseMs' },
]

export interface Agreement {
  readonly name: SettingName
  readonly times: number
  readonly within: SettingName
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
}
