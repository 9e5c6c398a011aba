/**
 * Every schema that has a name in the OpenAPI document and a chapter in docs/rest.md, in the order of the chapters.
 */
import { doctorAnswer, finding, planRequest, policiesAnswer, policy, policyCarrier, policyMark, policyMember, policySet, previewAnswer, reloadAnswer } from './question-schemas.js';
import { overrideRequest, verdictRequest } from './request-schemas.js';
import { activeAnswer, activeUplink, aliveAnswer, controller, decision, host, kernel, override, problemAnswer, readyAnswer, statusAnswer } from './schemas.js';
import { damping, evidence, outsideVerdict, probeBytes, quality, target, traffic, uplinkAnswer, uplinkFamily, uplinksAnswer } from './uplink-schemas.js';

export const NAMED_SCHEMAS = [
  activeAnswer, activeUplink, override, overrideRequest, statusAnswer, decision, uplinksAnswer, uplinkAnswer, uplinkFamily, evidence, quality, damping, traffic, probeBytes,
  outsideVerdict, verdictRequest, target, kernel, host, controller,
  previewAnswer, planRequest, reloadAnswer, policiesAnswer, policy, policyMember, policyCarrier, policyMark, policySet, doctorAnswer, finding,
  aliveAnswer, readyAnswer, problemAnswer,
] as const;
