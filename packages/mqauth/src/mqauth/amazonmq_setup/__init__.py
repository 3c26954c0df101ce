"""Prepares an AWS account and an Amazon MQ broker for sign-in with IAM.

What "Using IAM authentication and authorization for Amazon MQ for RabbitMQ" (Amazon MQ developer
guide) does by hand, as steps that compare what is with what ought to be. Nothing is ever deleted.
"""
