{{- define "tieline.labels" -}}
app.kubernetes.io/name: tieline
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The labels by which one part is found: a dict with root and part. */}}
{{- define "tieline.selector" -}}
app.kubernetes.io/name: tieline
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "tieline.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "tieline.policyMap" -}}
{{ if .Values.policy.text }}{{ .Release.Name }}-policy{{ else }}{{ required "set policy.text, or policy.existingConfigMap" .Values.policy.existingConfigMap }}{{ end }}
{{- end -}}

{{- define "tieline.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "tieline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "tieline.kafkaEnv" -}}
- {name: TIELINE_KAFKA, value: {{ .Values.kafka.servers | quote }}}
- {name: TIELINE_NAMESPACE, value: {{ .Values.namespace | quote }}}
{{- if .Values.kafka.tls }}
- {name: TIELINE_KAFKA_TLS, value: "1"}
{{- if .Values.secret.privateAuthority }}
- {name: TIELINE_KAFKA_CA_FILE, value: /run/secrets/tieline/kafka_ca.crt}
{{- end }}
{{- end }}
{{- if .Values.kafka.sasl }}
- {name: TIELINE_KAFKA_SASL, value: {{ .Values.kafka.sasl | quote }}}
- {name: TIELINE_KAFKA_USER, value: {{ .Values.kafka.user | quote }}}
- {name: TIELINE_KAFKA_PASSWORD_FILE, value: /run/secrets/tieline/kafka_password}
{{- end }}
{{- end -}}

{{- define "tieline.redisEnv" -}}
- {name: TIELINE_REDIS, value: {{ .Values.redis.url | quote }}}
{{- if .Values.redis.user }}
- {name: TIELINE_REDIS_USER, value: {{ .Values.redis.user | quote }}}
{{- end }}
{{- if .Values.redis.password }}
- {name: TIELINE_REDIS_PASSWORD_FILE, value: /run/secrets/tieline/redis_password}
{{- end }}
{{- if .Values.secret.privateAuthority }}
- {name: TIELINE_REDIS_CA_FILE, value: /run/secrets/tieline/redis_ca.crt}
{{- end }}
{{- end -}}

{{/* Keys of signed tables: a dict with root and, for those who sign, sign true. */}}
{{- define "tieline.signingEnv" -}}
{{- if and .root.Values.signing.check (not .root.Values.signing.sign) }}{{ fail "signing.check needs signing.sign: a controller that checks must sign" }}{{ end -}}
{{- if and .sign .root.Values.signing.sign }}
- {name: TIELINE_SIGNING_KEY_FILE, value: /run/secrets/tieline/controller_key}
{{- end }}
{{- if .root.Values.signing.check }}
- {name: TIELINE_CONTROLLER_KEYS_FILE, value: /run/secrets/tieline/controllers.pub}
{{- end }}
{{- end -}}

{{- define "tieline.signingKeys" -}}
{{- $keys := list -}}
{{- if and .sign .root.Values.signing.sign }}{{ $keys = append $keys "controller_key" }}{{ end -}}
{{- if .root.Values.signing.check }}{{ $keys = append $keys "controllers.pub" }}{{ end -}}
{{- join "," $keys -}}
{{- end -}}

{{/* Secrets of pools as files, by the names of the policy: a list. */}}
{{- define "tieline.poolSecretsEnv" -}}
{{- range . }}
- {name: TIELINE_CREDENTIAL_{{ regexReplaceAll "[^A-Z0-9]" (upper .) "_" }}_FILE, value: /run/secrets/tieline/pool_{{ . }}}
{{- end }}
{{- end -}}

{{/* The ports of a part and how it is asked whether it lives: a dict, with webhookPort if it listens there, and with
     port and portName for what else it serves. */}}
{{- define "tieline.monitor" -}}
ports:
  - {name: monitor, containerPort: 9464}
  {{- with .port }}
  - {name: {{ $.portName }}, containerPort: {{ . }}}
  {{- end }}
  {{- with .webhookPort }}
  - {name: webhook, containerPort: {{ . }}}
  {{- end }}
livenessProbe:
  httpGet: {path: /livez, port: monitor}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: monitor}
  periodSeconds: 5
  timeoutSeconds: 5
startupProbe:
  httpGet: {path: /livez, port: monitor}
  periodSeconds: 2
  failureThreshold: 30
{{- end -}}

{{- define "tieline.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: secrets, mountPath: /run/secrets/tieline, readOnly: true}
{{- end -}}

{{/* Only the keys that a part needs: a dict with root and keys, and with temporary if it needs more room than 64Mi. */}}
{{- define "tieline.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ .temporary | default "64Mi" }}}
- name: secrets
  secret:
    secretName: {{ .root.Values.secret.name }}
    defaultMode: 0440
    items:
    {{- range .keys }}
      - {key: {{ . }}, path: {{ . }}}
    {{- end }}
{{- end -}}

{{/* The keys of Kafka and, with redis true, of Redis: a dict with root and redis. */}}
{{- define "tieline.serverKeys" -}}
{{- $keys := list -}}
{{- if .root.Values.kafka.sasl }}{{ $keys = append $keys "kafka_password" }}{{ end -}}
{{- if and .root.Values.secret.privateAuthority .root.Values.kafka.tls }}{{ $keys = append $keys "kafka_ca.crt" }}{{ end -}}
{{- if and .redis .root.Values.redis.password }}{{ $keys = append $keys "redis_password" }}{{ end -}}
{{- if and .redis .root.Values.secret.privateAuthority }}{{ $keys = append $keys "redis_ca.crt" }}{{ end -}}
{{- join "," $keys -}}
{{- end -}}

{{- define "tieline.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "tieline.selector" . | nindent 8 }}
{{- end -}}

{{- define "tieline.disruption" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .root.Release.Name }}-{{ .part }}
  labels:
    {{- include "tieline.labels" .root | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "tieline.selector" . | nindent 6 }}
{{- end -}}

{{/* The first lines of what a part runs in: a dict with root, part, settings and grace, its seconds to end in. */}}
{{- define "tieline.pod" -}}
serviceAccountName: {{ .root.Release.Name }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .grace }}
securityContext:
  {{- include "tieline.podSecurity" .root | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{ include "tieline.spread" . }}
{{- end -}}

{{/* How many pods of a part that takes requests, which none may lack: a dict with root, part and settings. */}}
{{- define "tieline.replicas" -}}
{{- if not .settings.autoscaling.enabled }}
replicas: {{ .settings.replicas }}
{{- end }}
# A new pod is ready before an old one ends, so that as many as before take requests.
strategy:
  type: RollingUpdate
  rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
selector:
  matchLabels:
    {{- include "tieline.selector" . | nindent 4 }}
{{- end -}}

{{/* What stands beside the pods of such a part: the Service is of its own. A dict with root, part and settings. */}}
{{- define "tieline.beside" -}}
{{- if .settings.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .root.Release.Name }}-{{ .part }}
  labels:
    {{- include "tieline.labels" .root | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .root.Release.Name }}-{{ .part }}}
  minReplicas: {{ .settings.autoscaling.minReplicas }}
  maxReplicas: {{ .settings.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ .settings.autoscaling.cpuPercent }}}
{{- end }}
{{- if .root.Values.podDisruptionBudget.enabled }}
---
{{ include "tieline.disruption" . }}
{{- end }}
{{- end -}}
