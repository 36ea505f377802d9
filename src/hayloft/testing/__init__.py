"""What tests of Hayloft need, shipped so that its users can test against it too."""
