import type { ErrorBody } from './script.ts'

/** What OpenAI says with a status, as its users quote it; where nobody does, something of the same kind. */
export function defaultError(status: number, model: string): ErrorBody {
  const known = byStatus[status] ?? {
    type: status >= 500 ? 'server_error' : 'invalid_request_error',
    code: null,
    message: 'The request failed.',
  }
  return { ...known, message: known.message.replace('{model}', model), param: null }
}

const serverError = {
  type: 'server_error',
  code: null,
  message: 'The server had an error while processing your request. Sorry about that!',
}

const byStatus: Readonly<Record<number, Omit<ErrorBody, 'param'>>> = {
  400: { type: 'invalid_request_error', code: null, message: 'Invalid request.' },
  401: { type: 'invalid_request_error', code: 'invalid_api_key', message: 'Incorrect API key provided.' },
  402: {
    type: 'insufficient_quota',
    code: 'insufficient_quota',
    message: 'You exceeded your current quota, please check your plan and billing details.',
  },
  403: {
    type: 'invalid_request_error',
    code: 'unsupported_country_region_territory',
    message: 'Country, region, or territory not supported',
  },
  404: {
    type: 'invalid_request_error',
    code: 'model_not_found',
    message: 'The model `{model}` does not exist or you do not have access to it.',
  },
  429: { type: 'requests', code: 'rate_limit_exceeded', message: 'Rate limit reached for {model}. Please try again later.' },
  498: { type: 'server_error', code: 'capacity_exceeded', message: 'Capacity exceeded.' },
  500: serverError,
  502: serverError,
  503: {
    type: 'service_unavailable_error',
    code: 'server_is_overloaded',
    message: 'Our servers are currently overloaded. Please try again later.',
  },
  504: serverError,
  529: {
    type: 'service_unavailable_error',
    code: 'server_is_overloaded',
    message: 'Our servers are currently overloaded. Please try again later.',
  },
}
