"""What users and the project's own tests test against: shipped, so that it stays true."""
