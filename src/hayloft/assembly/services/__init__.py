"""The roles of a cluster, each as a process: what ``hayloft store`` and the other roles' commands run."""
