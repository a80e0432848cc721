{{/* The names are fixed, as in deploy/kubernetes: one installation a cluster, and none of them is a name of the original whereabouts. */}}

{{- define "whereabouts.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "whereabouts.image" -}}
{{- with .Values.image -}}
image: {{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
imagePullPolicy: {{ .pullPolicy }}
{{- end -}}
{{- end }}

{{- define "whereabouts.rights" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
seccompProfile:
  type: RuntimeDefault
capabilities:
  drop: [ALL]
{{- end }}

{{/* Root without any capability, which the last line may add to: the owner of the node's folders, and of certificates that only their owner can read. */}}
{{- define "whereabouts.nodeRights" -}}
runAsUser: 0
{{- if .Values.openshift.enabled }}
seLinuxOptions:
  type: spc_t
{{- end }}
{{ include "whereabouts.rights" . }}
{{- end }}

{{/* fsGroup: of the secrets' files. */}}
{{- define "whereabouts.nobody" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}

{{/* An address to listen on: with monitoring all addresses instead of loopback. */}}
{{- define "whereabouts.listen" -}}
{{- $values := (first .).Values -}}
{{- $address := last . -}}
{{- if $values.monitoring.enabled -}}
{{- $address | replace "127.0.0.1:" "[::]:" -}}
{{- else -}}
{{- $address -}}
{{- end -}}
{{- end }}

{{/* Where the pods of a workload run. */}}
{{- define "whereabouts.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "whereabouts.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "whereabouts.inKubernetes" -}}
{{- if eq .Values.datastore "kubernetes" }}yes{{ end -}}
{{- end }}

{{/* Whether the chart makes the flat file. */}}
{{- define "whereabouts.makesFlatFile" -}}
{{- if or .Values.etcd.endpoints (include "whereabouts.inKubernetes" .) }}yes{{ end -}}
{{- end }}

{{- define "whereabouts.flatFile" -}}
{{- $folder := .Values.node.configDir -}}
{{- $keys := dict "datastore" "kubernetes" -}}
{{- if not (include "whereabouts.inKubernetes" .) -}}
{{- $keys = dict
  "etcd_host" (join "," .Values.etcd.endpoints)
  "etcd_ca_cert_file" (printf "%s/ca.crt" $folder)
  "etcd_cert_file" (printf "%s/client.crt" $folder)
  "etcd_key_file" (printf "%s/client.key" $folder) -}}
{{- end -}}
{{- merge $keys .Values.flatFile.keys | toPrettyJson -}}
{{- end }}

{{/* Pods read the flat file once. A new one must start new pods. */}}
{{- define "whereabouts.podAnnotations" -}}
{{- if include "whereabouts.makesFlatFile" . }}
annotations:
  checksum/flat-file: {{ include "whereabouts.flatFile" . | sha256sum }}
{{- end }}
{{- end }}

{{/* The authority of a webhook: cert-manager tells the API server, or else the controllers do. */}}
{{- define "whereabouts.authority" -}}
{{- if .Values.webhook.certManager }}
annotations:
  cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/whereabouts-webhook
{{- end }}
{{- end }}
